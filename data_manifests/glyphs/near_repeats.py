"""Which drawings of one character are kept: the first of those that look the same.

Regional cuts and neighbouring weights of a design often draw a character alike. Such pictures teach nothing and
flatter every measure, so a picture is dropped whose cosine to one that is kept is 0.98 or more.
"""

from __future__ import annotations

import numpy as np

NEAR_REPEAT = (98, 100)
"""The cosine of a near repeat, as a fraction: whole numbers compare alike on every machine."""


def first_of_alike(levels: np.ndarray) -> np.ndarray:
    """Rows of `levels` (grey levels 0 to 15, uint8[n, pixels], none all black) to keep: int64[k], ascending.

    Rows are taken in order, and a row is kept unless it is a near repeat of one that is kept. Exact: products of
    levels add up to less than 2^24, which float32 holds, and cosines are compared as squares of whole numbers.
    Needs n × n numbers.
    """
    exact = levels.astype(np.float32)
    dot = (exact @ exact.T).astype(np.int64)
    square = dot.diagonal()
    part, whole = NEAR_REPEAT
    alike = (dot * whole) ** 2 >= part**2 * np.multiply.outer(square, square)
    kept = np.ones(len(levels), bool)
    for row in range(len(levels)):
        if kept[row]:
            kept[row + 1 :] &= ~alike[row, row + 1 :]
    return np.flatnonzero(kept)

"""How long what goes over the rows of a table takes, by some of them."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

ROWS = 16_384
"""Rows that are timed at first, and the most of them that are timed at all: 16 times as many."""
FEW = 1_024
"""Rows of what is waited for."""
ENOUGH_SECONDS = 0.02
SORTS = 5


def sorted_seconds() -> float:
    """Seconds in which a row of a table of names is sorted: what work on tables is counted in.

    >>> sorted_seconds() < 1e-3
    True
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    order = np.random.default_rng(0).permutation(ROWS)
    rows = pa.table({"name": pa.array([f"name {number:08d}" for number in order]), "number": order})
    keys = [(name, "ascending") for name in rows.column_names]
    took = []
    for _ in range(SORTS):
        began = time.process_time()
        rows.take(pc.sort_indices(rows, keys))
        took.append(time.process_time() - began)
    return median(took) / ROWS


def waited_seconds(work: Callable[[slice], object], rows: int) -> float:
    """Seconds of a row, on average over the first `FEW`, by the clock: disks and networks are waited for.

    >>> waited_seconds(lambda rows: time.sleep(1e-4 * (rows.stop - rows.start)), 10) >= 1e-4
    True
    """
    if not rows:
        return 0.0
    few = min(FEW, rows)
    work(slice(0, 1))  # the first one sets up, and may import
    began = time.perf_counter()
    work(slice(0, few))
    return (time.perf_counter() - began) / few


def row_seconds(work: Callable[[slice], object], rows: int) -> float:
    """Seconds of a row, on average over the first ones; as many are timed as take a moment.

    By processor time, which other work on the machine hardly lengthens.

    Args:
        work: does some rows.
        rows: how many there are.

    >>> row_seconds(lambda rows: list(range(rows.start, rows.stop)), 1000) < 1e-4
    True
    """
    if not rows:
        return 0.0
    many = min(ROWS, rows)
    work(slice(0, 1))  # the first one sets up, and may import
    while True:
        began = time.process_time()
        work(slice(0, many))
        took = time.process_time() - began
        if took >= ENOUGH_SECONDS or many >= min(rows, 16 * ROWS):
            return took / many
        many = min(rows, 4 * many)

"""How fast this machine compares vectors, for estimates of what compares identities with each other; no torch.

A pair costs its product, 2·D operations, and a look at the similarity; what is nearer than all before costs more, since it is
put in order. All three are timed here, by the processor time of the calling thread, which other work on the machine hardly
lengthens: an estimate is for a quiet machine. How much dearer a search is than the sort that is timed was measured once.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import cache
from statistics import median

import numpy as np

from ..machine import usable_cores

PASSES = 5
LOOK = 0.4
"""A similarity that is looked at in a search, in places of a partial sort (`kept_seconds`)."""
NEW_NEIGHBOR = 15
"""One that is put among the nearest so far."""


def product_rate(dimensions: int = 512) -> float:
    """Floating-point operations a second of a float32 matrix product of vectors of so many numbers.

    By the processor time of the calling thread, which other work on the machine hardly lengthens. Of short vectors it is
    lower, a quarter with 64 numbers on some processors: each similarity has to be written.
    """
    a, product = np.ones((1024, dimensions), np.float32), np.empty((1024, 1024), np.float32)
    return 2 * 1024 * 1024 * dimensions / _median(lambda: np.matmul(a, a.T, out=product))


def kept_seconds() -> float:
    """Seconds in which a core sorts one similarity of many by halves, as finding the nearest wants it."""
    rows = np.random.default_rng(0).standard_normal((128, 1024), np.float32)
    return _median(lambda: np.argpartition(rows, -8, axis=1)) / rows.size


def nearest_seconds(queries: float, rows: float, dimensions: int, k: int) -> float:
    """Seconds to find the k nearest of so many rows for each query, exactly.

    >>> nearest_seconds(20_000, 10_000, 64, 10) > nearest_seconds(10_000, 10_000, 64, 10) > 0
    True
    """
    _, keep = _speed(dimensions)
    new = queries * k * (1 + math.log(max(1.0, rows / max(1, k))))
    return compared_seconds(queries * rows, dimensions, LOOK) + new * NEW_NEIGHBOR * keep


def compared_seconds(pairs: float, dimensions: int, looks: float) -> float:
    """Seconds to compare so many pairs, and to do with each similarity what takes so many places of a partial sort."""
    rate, keep = _speed(dimensions)
    return pairs * (2 * dimensions / rate + looks * keep)


@cache
def _speed(dimensions: int) -> tuple[float, float]:
    """What all cores do together: operations a second, and seconds of a similarity."""
    return product_rate(dimensions), kept_seconds() / _threads()


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(usable_cores(), int(asked)) if asked.isdecimal() and int(asked) else usable_cores()


def _median(work: Callable[[], object]) -> float:
    work()  # the first one sets up
    seconds = []
    for _ in range(PASSES):
        began = time.thread_time()
        work()
        seconds.append(time.thread_time() - began)
    return median(seconds)

"""How fast this machine multiplies matrices, for estimates of what compares identities with each other; no torch."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

PASSES = 5


def product_rate() -> float:
    """Floating-point operations a second of a float32 matrix product.

    By the processor time of the calling thread, which other work on the machine hardly lengthens.
    """
    a, product = np.ones((1024, 512), np.float32), np.empty((1024, 1024), np.float32)
    np.matmul(a, a.T, out=product)  # the first one sets up
    seconds = []
    for _ in range(PASSES):
        began = time.thread_time()
        np.matmul(a, a.T, out=product)
        seconds.append(time.thread_time() - began)
    return 2 * 1024 * 1024 * 512 / median(seconds)

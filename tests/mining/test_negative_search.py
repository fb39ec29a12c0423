"""The two looks for the largest numbers, and the blocks and tiles of the search, against slow loops.

Covers mining/similarity_tiles.py, too.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining import negative_search, similarity_tiles
from subspace.mining.errors import InputError
from subspace.mining.label_runs import LabelRuns
from subspace.mining.negative_search import (
    NegativeRule,
    largest,
    nearest_negatives,
    negative_blocks,
    similarities_at,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 900),
    k=st.integers(1, 5),
    kinds=st.integers(2, 1000),
    seed=st.integers(0, 99),
)
def test_the_largest_are_those_of_a_full_sort(rows: int, columns: int, k: int, kinds: int, seed: int) -> None:
    """Also with many equal numbers, and minus infinity."""
    k = min(k, columns)
    random = torch.Generator().manual_seed(seed)
    values = torch.randint(kinds, (rows, columns), generator=random).float()
    values[values == 0] = -torch.inf
    found, place = largest(values, k)
    assert torch.equal(found, values.sort(dim=1, descending=True).values[:, :k])
    assert torch.equal(values.gather(1, place), found)
    assert all(len(set(row)) == k for row in place.tolist())


def test_blocks_hold_all_but_the_own_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, ref_labels = torch.tensor([3, 1, 1, 9]), torch.tensor([1, 3, 3, 2, 1])
    rows = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
    runs = LabelRuns.of(labels, ref_labels)
    anchors, references = rows[:4][runs.anchor_order], rows[4:][runs.reference_order]
    table = anchors @ references.T
    own = labels[runs.anchor_order][:, None] == ref_labels[runs.reference_order]
    for size in (1, 3, 4):
        monkeypatch.setattr(negative_search, "rows_at_a_time", lambda *of, size=size: size)
        blocks = list(negative_blocks(anchors, references, runs))
        assert [part.stop - part.start for part, _, _ in blocks] == {1: [1] * 4, 3: [3, 1], 4: [4]}[size]
        found = torch.cat([similarity for _, similarity, _ in blocks])
        torch.testing.assert_close(found, table.masked_fill(own, -torch.inf))
        place, exists = runs.positives
        positive = torch.cat([positive for _, _, positive in blocks])
        torch.testing.assert_close(positive[exists], table.gather(1, place)[exists])
        torch.testing.assert_close(similarities_at(anchors, references, place), table.gather(1, place))


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    rule=st.builds(
        NegativeRule,
        st.integers(1, 5),
        range_min=st.integers(0, 3),
        max_similarity=st.sampled_from([None, 0.5]),
    ),
    side=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_half_of_the_similarities_say_what_all_say(
    labels: list[int], rule: NegativeRule, side: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    told, never = torch.tensor(labels), torch.tensor([[0, 1], [2, 3]])
    rows = torch.nn.functional.normalize(torch.randn(len(labels), 4, generator=random, dtype=torch.float64))
    runs = LabelRuns.of(told)
    rows, barred = rows[runs.anchor_order], runs.barred(never, told, told)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(negative_search, "FEWEST_TILES", 10**9)
        whole = nearest_negatives(rows, rows, runs, rule, barred=barred)
        monkeypatch.setattr(negative_search, "FEWEST_TILES", 1)
        monkeypatch.setattr(similarity_tiles, "SIDE_ON_CPU", side)
        half = nearest_negatives(rows, rows, runs, rule, barred=barred)
    torch.testing.assert_close(half.similarity, whole.similarity)
    exists = whole.similarity > -torch.inf
    assert torch.equal(half.place[exists], whole.place[exists])
    _, is_positive = runs.positives
    torch.testing.assert_close(half.positive_similarity[is_positive], whole.positive_similarity[is_positive])


@settings(max_examples=60, deadline=None)
@given(
    range_min=st.integers(0, 3),
    range_max=st.integers(4, 30),
    max_score=st.sampled_from([None, 0.6]),
    absolute_margin=st.sampled_from([None, 0.0, 0.1]),
    relative_margin=st.sampled_from([None, 0.05, 0.5]),
    seed=st.integers(0, 99),
)
def test_the_rules_are_those_of_mine_hard_negatives(
    range_min: int,
    range_max: int,
    max_score: float | None,
    absolute_margin: float | None,
    relative_margin: float | None,
    seed: int,
) -> None:
    """sentence-transformers' order of work, for queries with one positive each: the nearest `range_max` are candidates, margins
    and scores take some away, `range_min` of what is left are skipped, and the next three serve."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(24, 4, generator=random, dtype=torch.float64) + 0.5
    rows, labels = torch.nn.functional.normalize(rows), torch.arange(24) // 2
    share = None if relative_margin is None else 1 - relative_margin
    rule = NegativeRule(3, range_min, max_score, absolute_margin, share, range_max)
    found = nearest_negatives(rows, rows, LabelRuns.of(labels), rule)
    for query in range(24):
        scores, positive = rows @ rows[query], float(rows[query ^ 1] @ rows[query])
        scores[labels == labels[query]] = -torch.inf
        kept, corpus = scores.topk(min(range_max, 22))
        if absolute_margin is not None:
            kept[kept + absolute_margin >= positive] = -torch.inf
        if relative_margin is not None:
            kept[kept >= positive * (1 - relative_margin)] = -torch.inf
        if max_score is not None:
            kept[kept > max_score] = -torch.inf
        kept, order = kept.sort(descending=True, stable=True)
        wanted = corpus[order][range_min : range_min + 3][kept[range_min : range_min + 3] > -torch.inf]
        assert found.place[query, 0][found.similarity[query, 0] > -torch.inf].tolist() == wanted.tolist()


def test_half_precision_finds_almost_the_nearest() -> None:
    random = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(400, 32, generator=random))
    runs = LabelRuns.of(torch.arange(400) // 4)
    exact = nearest_negatives(rows, rows, runs, NegativeRule(3))
    half = nearest_negatives(rows.bfloat16(), rows.bfloat16(), runs, NegativeRule(3))
    again = similarities_at(rows, rows, half.place[:, 0])
    assert (exact.similarity[:, 0] - again).max() < 0.02
    assert (half.place == exact.place).float().mean() > 0.8


def test_no_negatives_are_refused() -> None:
    with pytest.raises(InputError, match="negatives=0"):
        NegativeRule(0)
    with pytest.raises(InputError, match="range_min=-1"):
        NegativeRule(1, range_min=-1)
    with pytest.raises(InputError, match="range_max=2 must be above range_min=2"):
        NegativeRule(1, range_min=2, range_max=2)

"""Positives and negatives of anchors as runs of sorted labels, against slow loops."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.label_runs import LabelRuns

labels_lists = st.lists(st.integers(-2, 3), min_size=1, max_size=9)


@settings(max_examples=80)
@given(labels=labels_lists, more=st.lists(st.integers(-2, 3), max_size=5), before=st.integers(0, 5))
def test_pairs_follow_the_labels_and_leave_out_the_anchor_itself(
    labels: list[int], more: list[int], before: int
) -> None:
    own_start, batch = min(before, len(more)), torch.tensor(labels)
    references = more[:own_start] + labels + more[own_start:]
    for others, runs, start in (
        (labels, LabelRuns.of(batch), 0),
        (references, LabelRuns.of(batch, torch.tensor(references), own_start), own_start),
        (references, LabelRuns.of(batch, torch.tensor(references)), None),
        ([5] + more, LabelRuns.of(batch, torch.tensor([5] + more)), None),
    ):
        place, exists = runs.positives
        assert sorted(runs.anchor_order.tolist()) == list(range(len(labels)))
        for at, anchor in enumerate(runs.anchor_order.tolist()):
            label = labels[anchor]
            negatives = [r for r, other in enumerate(others) if other != label]
            positives = [
                r
                for r, other in enumerate(others)
                if other == label and (start is None or r != start + anchor)
            ]
            found = runs.reference_order[place[at][exists[at]]].tolist()
            assert sorted(found) == (positives if negatives else [])
            run = runs.reference_order[runs.first[at] : runs.last[at]].tolist()
            assert sorted({*range(len(others))} - {*run}) == negatives


def test_negatives_by_number_are_all_negatives_equally_often() -> None:
    labels = torch.tensor([7, -3, 7, 2, 2, -3, 9])
    runs = LabelRuns.of(labels)
    found = runs.negative(torch.arange(5 * 6 * 4).expand(7, -1))  # a multiple of the 5 or 6 negatives of each
    for at, anchor in enumerate(runs.anchor_order.tolist()):
        drawn = runs.reference_order[found[at]]
        expected = [
            0 if label == labels[anchor] else 120 // int((labels != labels[anchor]).sum()) for label in labels
        ]
        assert torch.bincount(drawn, minlength=7).tolist() == expected


def test_barred_pairs_are_places_both_ways() -> None:
    labels, references = torch.tensor([4, 1, 1]), torch.tensor([1, 4, 4, 2])
    runs = LabelRuns.of(labels, references)
    barred = runs.barred(torch.tensor([[1, 4], [2, 9]]), labels, references)
    assert barred == [(slice(0, 2), slice(2, 4)), (slice(2, 3), slice(0, 1))]
    assert runs.barred(None, labels, references) == []


def test_an_empty_batch_has_no_runs() -> None:
    runs = LabelRuns.of(torch.empty(0, dtype=torch.int64))
    assert runs.most == 0
    assert [table.shape for table in runs.positives] == [(0, 0), (0, 0)]

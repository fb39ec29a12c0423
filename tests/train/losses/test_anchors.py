"""Positives and negatives of anchors, and the draws of losses, against slow loops.

Covers train/losses/step_generator.py, too.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.train.losses.anchors import anchor_pairs
from subspace.train.losses.step_generator import StepGenerator

labels_lists = st.lists(st.integers(-2, 3), min_size=1, max_size=9)


def random_rows(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60)
@given(labels=labels_lists, more=st.lists(st.integers(-2, 3), max_size=5), before=st.integers(0, 5))
def test_pairs_follow_the_labels_and_leave_out_the_anchor_itself(
    labels: list[int], more: list[int], before: int
) -> None:
    own_start = min(before, len(more))
    references = more[:own_start] + labels + more[own_start:]
    batch = torch.tensor(labels)
    alone = anchor_pairs(random_rows(len(labels)), batch)
    own = anchor_pairs(
        random_rows(len(labels)), batch, random_rows(len(references)), torch.tensor(references), own_start
    )
    foreign = anchor_pairs(
        random_rows(len(labels)), batch, random_rows(len(references)), torch.tensor(references)
    )
    for pairs, others, start in (
        (alone, labels, 0),
        (own, references, own_start),
        (foreign, references, None),
    ):
        for a, label in enumerate(labels):
            negatives = [r for r, other in enumerate(others) if other != label]
            positives = [
                r for r, other in enumerate(others) if other == label and (start is None or r != start + a)
            ]
            assert pairs.negative[a].nonzero().flatten().tolist() == negatives
            assert pairs.positive[a].nonzero().flatten().tolist() == (positives if negatives else [])
        row, exists = pairs.positive_table()
        assert torch.equal(row[exists], pairs.positive.nonzero()[:, 1])
        assert torch.equal(exists.sum(dim=1), pairs.positive.sum(dim=1))


def test_distances_are_squared_euclidean_of_unit_vectors() -> None:
    rows = random_rows(5)
    unit = rows / rows.norm(dim=1, keepdim=True)
    pairs = anchor_pairs(rows, torch.tensor([0, 0, 1, 1, 2]))
    expected = (unit[:, None] - unit[None]).square().sum(dim=2)
    torch.testing.assert_close(pairs.distance(), expected, atol=1e-6, rtol=1e-5)


def test_random_negatives_are_uniform_over_the_other_identities() -> None:
    labels = torch.tensor([7, -3, 7, 2, 2, -3, 9])
    pairs = anchor_pairs(random_rows(7), labels)
    for anchor in range(7):
        drawn = pairs.random_negatives(torch.full((6000,), anchor), torch.Generator().manual_seed(1))
        share = torch.bincount(drawn, minlength=7) / 6000
        expected = (labels != labels[anchor]).float()
        torch.testing.assert_close(share, expected / expected.sum(), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3), torch.zeros(3)), r"\[3\]"),
        ((torch.ones(0, 4), torch.zeros(0)), r"\[0, 4\]"),
        ((torch.ones(3, 4), torch.zeros(2)), r"3 embeddings, but labels of shape \[2\]"),
        ((torch.ones(3, 4), torch.zeros(3), torch.ones(2, 4)), "go together"),
        ((torch.ones(3, 4), torch.zeros(3), None, None, 0), "go together"),
        ((torch.ones(3, 4), torch.zeros(3), torch.ones(2, 5), torch.zeros(2)), "5 numbers, embeddings 4"),
        ((torch.ones(3, 4), torch.zeros(3), torch.ones(4, 4), torch.zeros(4), 2), "own_start=2"),
    ],
)
def test_shapes_that_do_not_fit_are_told(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        anchor_pairs(*arguments)


def test_draws_are_a_function_of_seed_purpose_and_step_and_leave_the_global_generator_alone() -> None:
    def draws(steps: StepGenerator, n: int) -> list[int]:
        return [int(torch.randint(2**31, (), generator=steps(torch.device("cpu")))) for _ in range(n)]

    before = torch.get_rng_state()
    steps = StepGenerator(3, "a")
    unbroken = draws(steps, 6)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(unbroken)) == 6
    assert draws(StepGenerator(3, "b"), 6) != unbroken
    assert draws(StepGenerator(4, "a"), 6) != unbroken

    first = StepGenerator(3, "a")
    draws(first, 3)
    resumed = StepGenerator(3, "a")
    resumed.load_state_dict(first.state_dict())
    assert draws(resumed, 3) == unbroken[3:]
    assert len(set(draws(resumed.eval(), 3))) == 1
    with pytest.raises(InputError, match="seed=-1"):
        StepGenerator(-1, "a")

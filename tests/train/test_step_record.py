"""A loss that is not finite is a problem in words."""

from __future__ import annotations

import math

import pytest
import torch

from subspace.mining.errors import InputError
from subspace.train.losses.unit_length import unit_embeddings
from subspace.train.step_record import StepRecord, named_by_step


@pytest.mark.parametrize(("loss", "said"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_diverged_loss_is_told_with_its_step(loss: float, said: str) -> None:
    problem = StepRecord(4, 0.1, 8, [], torch.tensor(loss), None).divergence()
    assert problem is not None
    assert problem.startswith(
        f"step 5: the loss is {said}, the embeddings hold NaN or infinity: lower the learning rate"
    )


@pytest.mark.parametrize("loss", [torch.tensor(0.0), None])
def test_a_sound_loss_and_an_unlearned_step_are_none(loss: torch.Tensor | None) -> None:
    assert StepRecord(4, 0.1, 8, [], loss, None).divergence() is None


def test_embeddings_that_are_no_numbers_are_told_with_their_step() -> None:
    with pytest.raises(InputError, match=r"^step 5: the embeddings hold NaN or infinity"), named_by_step(4):
        unit_embeddings(torch.full((2, 3), float("nan")))
    with pytest.raises(InputError, match=r"^another$"), named_by_step(4):
        raise InputError("another")

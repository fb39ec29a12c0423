"""Unit vectors: the precision they are made in, the shortest that are lengthened, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from subspace.mining.errors import InputError
from subspace.train.losses.unit_length import SHORTEST, unit_embeddings, working_dtype


@pytest.mark.parametrize(
    ("given", "worked"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_lengths_are_one_in_float32_at_least(given: torch.dtype, worked: torch.dtype) -> None:
    embeddings = torch.tensor([[3.0, 4.0], [0.0, -2.0]], dtype=given)
    unit = unit_embeddings(embeddings)
    assert unit.dtype == working_dtype(embeddings) == worked
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, -1.0]], dtype=worked))


def test_an_embedding_of_zeros_stays_and_its_gradient_is_bounded() -> None:
    embeddings = torch.zeros(1, 3, requires_grad=True)
    unit_embeddings(embeddings)[0, 0].backward()
    assert embeddings.grad is not None
    assert embeddings.grad.tolist() == [pytest.approx([1 / SHORTEST, 0, 0])]


def test_the_gradient_is_that_of_the_definition() -> None:
    embeddings = torch.tensor([[0.3, -0.8, 2.0]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(unit_embeddings, embeddings)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match="hold NaN or infinity"):
        unit_embeddings(torch.tensor([[1.0, 2.0], [wrong, 0.0]]))

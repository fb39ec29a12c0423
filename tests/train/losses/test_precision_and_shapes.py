"""What every loss by name does with half precision, with autocast, and with shapes and types that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from subspace.mining.errors import InputError
from subspace.train.losses import LOSSES, EmbeddingLoss, TrainingSet, build_loss

D = 8
LABELS = torch.arange(12) // 2
MEANS = torch.nn.functional.normalize(torch.randn(6, D, generator=torch.Generator().manual_seed(0)), dim=1)
NAMES = [
    *(name for name in LOSSES if name != "xbm"), "xbm:multi_similarity", "xbm:batch_ohnm", "batch_ohnm + 0.5*arcface",
]  # fmt: skip
HALVES = [torch.bfloat16, torch.float16]


def build(name: str) -> EmbeddingLoss:
    """Each time the same; a memory is read at once."""
    arguments = {"xbm": {"warmup_steps": 0, "memory_size": 24}} if name.startswith("xbm") else {}
    return build_loss(name, arguments, TrainingSet.from_means(MEANS, torch.arange(6) // 3, seed=1))


def embeddings_of(seed: int) -> Tensor:
    return torch.randn(12, D, generator=torch.Generator().manual_seed(seed)) + 0.3


def steps(
    loss: EmbeddingLoss, dtype: torch.dtype, autocast: torch.dtype | None
) -> list[tuple[Tensor, Tensor]]:
    """Values and gradients of two batches."""
    found = []
    for seed in (1, 2):
        leaf = embeddings_of(seed).to(dtype).requires_grad_()
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            value = loss(leaf, LABELS)
        value.backward()
        assert leaf.grad is not None
        found.append((value.detach(), leaf.grad))
    return found


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_embeddings_give_the_value_in_float32(name: str, half: torch.dtype) -> None:
    rounded = [embeddings_of(seed).to(half) for seed in (1, 2)]
    whole, halved = build(name), build(name)
    for rows in rounded:
        leaf, leaf_half = rows.float().requires_grad_(), rows.clone().requires_grad_()
        value, value_half = whole(leaf, LABELS), halved(leaf_half, LABELS)
        value.backward()
        value_half.backward()
        assert value_half.dtype == torch.float32
        assert torch.equal(value, value_half)
        assert leaf_half.grad is not None
        assert leaf_half.grad.dtype == half
        assert torch.equal(leaf_half.grad, leaf.grad.to(half))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("autocast", HALVES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name: str, autocast: torch.dtype, dtype: torch.dtype) -> None:
    plain, inside = steps(build(name), dtype, None), steps(build(name), dtype, autocast)
    for (value, gradient), (value_inside, gradient_inside) in zip(plain, inside, strict=True):
        assert torch.equal(value, value_inside)
        assert torch.equal(gradient, gradient_inside)
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.ones(4, D), torch.arange(4)[:, None], r"labels of shape \[4, 1\] for 4 embeddings: give one each, \[4\]"),
        (torch.ones(4, D), torch.arange(3), r"labels of shape \[3\] for 4 embeddings"),
        (torch.ones(4, D), torch.tensor(1), r"labels of shape \[\] for 4 embeddings"),
        (torch.ones(4, D), torch.tensor([True, False, True, False]), r"labels of type torch\.bool: give whole numbers"),
        (torch.ones(4, D), torch.arange(4.0), r"labels of type torch\.float32: give whole numbers"),
        (torch.ones(0, D), torch.arange(0), r"embeddings of shape \[0, 8\]: expected \[images, numbers\], one image"),
        (torch.ones(4, 0), torch.arange(4), r"embeddings of shape \[4, 0\]"),
        (torch.ones(4), torch.arange(4), r"embeddings of shape \[4\]"),
        (torch.ones(2, 2, D), torch.arange(2), r"embeddings of shape \[2, 2, 8\]"),
        (torch.ones(4, D, dtype=torch.int64), torch.arange(4), r"embeddings of type torch\.int64"),
        (torch.ones(4, D), [0, 0, 1, 1], "embeddings and labels are Tensor and list: give two torch tensors"),
        (torch.full((4, D), torch.nan), torch.arange(4) // 2, "hold NaN or infinity"),
        (torch.full((4, D), torch.inf).half(), torch.arange(4) // 2, "hold NaN or infinity"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_told_in_one_line(
    name: str, embeddings: Tensor, labels: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        build(name)(embeddings, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "xbm" in name or "embedding_size" in LOSSES.get(name, LOSSES["xbm"]).given]
)  # fmt: skip
def test_embeddings_of_another_size_are_told(name: str) -> None:
    with pytest.raises(InputError, match=r"embeddings of 5 numbers, but \w+ was built for 8"):
        build(name)(torch.ones(4, 5), torch.arange(4) // 2)


def test_a_loss_of_ones_own_is_called_in_float32_too() -> None:
    class Product(EmbeddingLoss):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            assert embeddings.dtype == torch.float32
            return (embeddings @ embeddings.T).mean()

    embeddings = embeddings_of(1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = Product()(embeddings, LABELS)
    assert torch.equal(value, (embeddings.float() @ embeddings.float().T).mean())

"""The first step of every loss: unit vectors, or an error that says what to do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..mining.errors import InputError


def unit_embeddings(embeddings_BD: Tensor) -> Tensor:
    """Normalise float[B, D] embeddings to unit length, in float32 at least.

    Raises:
        InputError: NaN or infinity among them: the network has diverged.
    """
    unit_BD = normalized(embeddings_BD)
    if not torch.compiler.is_compiling():
        check_finite(unit_BD)
    return unit_BD


def check_finite(unit_BD: Tensor) -> None:
    """Raise an InputError unless all of float[B, D] is finite; entries of at most 1 cannot overflow their sum."""
    if not torch.isfinite(unit_BD.sum()):
        raise InputError(
            "the embeddings hold NaN or infinity: lower the learning rate or lengthen its warm-up"
        )


def normalized(embeddings_BD: Tensor) -> Tensor:
    """Like `unit_embeddings`, without the check: infinity becomes NaN, and NaN stays."""
    # float64 stays: gradients are checked in it. eps bounds the gradient of an all-zero embedding.
    wide_BD = embeddings_BD if embeddings_BD.dtype == torch.float64 else embeddings_BD.float()
    return functional.normalize(wide_BD, dim=1, eps=1e-6)

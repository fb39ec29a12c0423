"""The first step of every loss: unit vectors, or an error that says what to do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.errors import InputError

SHORTEST = 1e-6
"""Embeddings shorter than this are divided by it: it bounds the gradient of an all-zero embedding."""


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
    return functional.normalize(embeddings_BD.to(working_dtype(embeddings_BD)), dim=1, eps=SHORTEST)


def working_dtype(embeddings_BD: Tensor) -> torch.dtype:
    """What losses compute in: float32, or float64 where it comes so, as in checks of gradients."""
    return torch.float64 if embeddings_BD.dtype == torch.float64 else torch.float32

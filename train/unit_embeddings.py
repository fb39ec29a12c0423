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
    if not torch.compiler.is_compiling() and not torch.isfinite(embeddings_BD).all():
        raise InputError(
            "the embeddings hold NaN or infinity: lower the learning rate or lengthen its warm-up"
        )
    # float64 stays: gradients are checked in it. eps bounds the gradient of an all-zero embedding.
    wide_BD = embeddings_BD if embeddings_BD.dtype == torch.float64 else embeddings_BD.float()
    return functional.normalize(wide_BD, dim=1, eps=1e-6)

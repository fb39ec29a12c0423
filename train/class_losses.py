"""Losses with one weight vector per identity.

Shapes: B images in a batch, D numbers in an embedding, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..mining.errors import InputError
from .unit_embeddings import unit_embeddings


class SoftmaxLoss(nn.Module):
    """Identity loss: cross-entropy over s·cos of the embedding to each class weight, `loss(embeddings, labels)`.

    Both sides are unit vectors (NormFace, Wang et al. 2017), so the embeddings that come out suit a
    cosine distance. Cost and memory grow with C: meant for the starting network, on some thousands of
    identities.

    Args:
        classes: C; labels are 0..C-1.
        embedding_size: D.
        scale: s; 16 to 32 for small networks, 64 for large ones.
        seed: of the initial weights.
    """

    def __init__(self, classes: int, embedding_size: int, scale: float = 16.0, seed: int = 0) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"softmax needs at least two identities, got {classes}")
        weight = torch.empty(classes, embedding_size)
        nn.init.normal_(weight, std=embedding_size**-0.5, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(weight)
        self.scale = scale

    def forward(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        """Return the scalar mean loss of float[B, D] embeddings with int[B] class labels."""
        cosine_BC = unit_embeddings(embeddings_BD) @ functional.normalize(self.weight, dim=1).T
        return functional.cross_entropy(self.scale * cosine_BC, labels_B)

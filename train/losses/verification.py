"""The verification loss by cross-entropy: is this pair one identity, yes or no?

Shapes: B images in a batch, D numbers in an embedding, T pairs of one identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mining.errors import InputError
from .anchors import anchor_pairs
from .loss import EmbeddingLoss
from .registry import check_settings
from .step_generator import StepGenerator


class VerificationLoss(EmbeddingLoss):
    """Verification loss of Zheng, Zheng, Yang (2016), `loss(embeddings, labels)`.

    Square layer (f_i - f_j)², dropout, a 2-way linear layer (0: different, 1: same) and cross-entropy, mean
    over all positive pairs of the batch and as many negative ones: each anchor-positive pair, in both orders,
    is met by a random negative of its anchor. Meant to be joined with an identity loss.
    Chosen here, unpublished: unit embeddings are scaled to length √D before the square, so that squares are
    about 2 at the start whatever D is; and the layer begins as a threshold on the squared distance d of unit
    vectors, logit(different) - logit(same) = 4 (d - 1), so that training goes on from the network's own
    distances (random weights would first undo them). Cost and memory O(T · D), some ten float[2T, D].

    >>> loss = VerificationLoss(embedding_size=2, dropout=0)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.8016

    Args:
        embedding_size: D.
        dropout: share of the squares set to 0 in training; 0 to 0.9. Drawn from `seed` like the pairs.
        seed: of the negative pairs and the dropout.
    """

    def __init__(self, embedding_size: int, dropout: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        if embedding_size < 1:
            raise InputError(f"embedding_size={embedding_size} must be at least 1")
        check_settings("verification", {"dropout": dropout})
        self.steps = StepGenerator(seed, "verification pairs")
        self.weight = nn.Parameter(torch.tensor([[2.0], [-2.0]]).repeat(1, embedding_size) / embedding_size)
        self.bias = nn.Parameter(torch.tensor([-2.0, 2.0]))
        self.dropout = dropout

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient without a positive pair or with one identity.

        The arguments are those of `anchor_pairs`.
        """
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        size = pairs.anchors.shape[1]
        if size != self.weight.shape[1]:
            raise InputError(
                f"embeddings have {size} numbers, but the loss was built for {self.weight.shape[1]}"
            )
        generator = self.steps(pairs.anchors.device)
        anchor_T, positive_T = pairs.positive.nonzero(as_tuple=True)
        negative_T = pairs.random_negatives(anchor_T, generator)
        partner_2T = torch.cat([positive_T, negative_T])
        square_2TD = size * (pairs.anchors[anchor_T.repeat(2)] - pairs.references[partner_2T]).square()
        if self.training and self.dropout > 0:
            drawn_2TD = torch.rand(square_2TD.shape, generator=generator, device=square_2TD.device)
            square_2TD = square_2TD * (drawn_2TD >= self.dropout) / (1 - self.dropout)
        logit_2T2 = functional.linear(
            square_2TD, self.weight.to(square_2TD.dtype), self.bias.to(square_2TD.dtype)
        )
        same_2T = (torch.arange(len(partner_2T), device=partner_2T.device) < len(anchor_T)).long()
        return functional.cross_entropy(logit_2T2, same_2T, reduction="sum") / max(1, len(partner_2T))

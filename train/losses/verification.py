"""The verification loss by cross-entropy: is this pair one identity, yes or no?

Shapes: B images in a batch, D numbers in an embedding, P positives of the image that has most.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mining.errors import InputError
from ...mining.label_runs import LabelRuns
from ...mining.randomness import derived_seed
from .loss import EmbeddingLoss
from .pair_engine import check_pairs
from .registry import check_settings
from .step_generator import StepSeeds, random_numbers
from .unit_length import unit_embeddings


class VerificationLoss(EmbeddingLoss):
    """Verification loss of Zheng, Zheng, Yang (2016), `loss(embeddings, labels)`.

    Square layer (f_i - f_j)², dropout, a 2-way linear layer (0: different, 1: same) and cross-entropy, mean
    over all positive pairs of the batch and as many negative ones: each anchor-positive pair, in both orders,
    is met by a random negative of its anchor. Meant to be joined with an identity loss.
    Chosen here, unpublished: unit embeddings are scaled to length √D before the square, so that squares are
    about 2 at the start whatever D is; and the layer begins as a threshold on the squared distance d of unit
    vectors, logit(different) - logit(same) = 4 (d - 1), so that training goes on from the network's own
    distances (random weights would first undo them). Cost and memory O(B · P · D), some ten float[2BP, D].

    >>> loss = VerificationLoss(embedding_size=2, dropout=0)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    1.2624

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
        self.steps = StepSeeds(seed, "verification pairs")
        self.weight = nn.Parameter(torch.tensor([[2.0], [-2.0]]).repeat(1, embedding_size) / embedding_size)
        self.bias = nn.Parameter(torch.tensor([-2.0, 2.0]))
        self.dropout, self.embedding_size = dropout, embedding_size

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient without a positive pair or with one identity.

        The arguments are those of `pair_loss`.
        """
        check_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        unit_BD = unit_embeddings(embeddings)
        unit_RD = unit_BD if ref_emb is None else unit_embeddings(ref_emb).to(unit_BD)
        runs = LabelRuns.of(labels, ref_labels, own_start).on(unit_BD.device)
        positive_BP, exists_BP = runs.positives
        seed, shape = self.steps(), tuple(positive_BP.shape)
        negative_BP = runs.negative(random_numbers(shape, seed, unit_BD.device))
        anchors_BD, references_RD = unit_BD[runs.anchor_order], unit_RD[runs.reference_order]
        partners_B2PD = references_RD[torch.cat([positive_BP, negative_BP], dim=1)]
        square_B2PD = unit_BD.shape[1] * (anchors_BD[:, None] - partners_B2PD).square()
        if self.training and self.dropout > 0:
            kept = random_numbers(tuple(square_B2PD.shape), derived_seed(seed, "dropout"), unit_BD.device)
            square_B2PD = square_B2PD * (kept >= self.dropout * 2**31) / (1 - self.dropout)
        logit_B2P2 = functional.linear(
            square_B2PD, self.weight.to(unit_BD.dtype), self.bias.to(unit_BD.dtype)
        )
        log_B2P2, P = logit_B2P2.log_softmax(dim=2), shape[1]
        right_BP = log_B2P2[:, :P, 1] + log_B2P2[:, P:, 0]
        return -(right_BP * exists_BP).sum() / (2 * exists_BP.sum()).clamp(min=1)

"""The triplet loss over batch-OHNM triplets.

Shapes: B images in a batch, D numbers in an embedding, T triplets.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from ..mining.errors import InputError
from ..mining.triplets import mine_batch_ohnm
from .unit_embeddings import unit_embeddings


class TripletStatistics(NamedTuple):
    """What a training log shows of a batch; each a scalar tensor without gradient, NaN without triplets."""

    active_fraction: Tensor
    """Share of the mined triplets that violate the margin."""
    d_ap: Tensor
    """Mean distance from anchor to positive over the mined triplets."""
    d_an: Tensor
    """Mean distance from anchor to mined negative."""


class BatchOHNMLoss(nn.Module):
    """Batch OHNM triplet loss, called as `loss(embeddings, labels)`.

    Mean over the violating triplets of [d_ap - d_an + m]+, where every anchor-positive pair of the batch
    meets the anchor's k nearest negatives (Wang, Zhang, Lan 2017; k, m unpublished: k = 3 and
    m = 0.2..0.3 are a start). d is the squared Euclidean distance of unit vectors, 2 - 2·cos, from 0 to 4.

    Args:
        margin: m, in units of d.
        negatives: k; 1 is prone to collapse on mislabelled or indistinguishable images.
        squared: False takes the Euclidean distance, 0 to 2.
        soft_margin: softplus(d_ap - d_an) instead of the hinge (Hermans et al. 2017); m is unused and every
            triplet contributes.
    """

    def __init__(
        self, margin: float = 0.3, negatives: int = 3, *, squared: bool = True, soft_margin: bool = False
    ) -> None:
        super().__init__()
        if negatives < 1:
            raise InputError(f"negatives={negatives} must be at least 1")
        self.margin, self.negatives = margin, negatives
        self.squared, self.soft_margin = squared, soft_margin
        self.statistics: TripletStatistics | None = None
        """Of the latest batch."""

    def forward(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates.

        Args:
            embeddings_BD: float[B, D]; normalised here.
            labels_B: int[B].

        Raises:
            InputError: NaN or infinity among the embeddings.
        """
        unit_BD = unit_embeddings(embeddings_BD)
        anchor, positive, negative = mine_batch_ohnm(unit_BD.detach(), labels_B, self.negatives)
        d_ap_T = self._distance(unit_BD, anchor, positive)
        d_an_T = self._distance(unit_BD, anchor, negative)
        violation_T = d_ap_T - d_an_T + self.margin
        active_T = violation_T.detach() > 0
        self.statistics = TripletStatistics(
            active_T.float().mean(), d_ap_T.detach().mean(), d_an_T.detach().mean()
        )
        if self.soft_margin:
            return functional.softplus(d_ap_T - d_an_T).sum() / max(1, len(anchor))
        return functional.relu(violation_T).sum() / active_T.sum().clamp(min=1)

    def _distance(self, unit_BD: Tensor, first: Tensor, second: Tensor) -> Tensor:
        squared_T = 2 - 2 * (unit_BD[first] * unit_BD[second]).sum(dim=1)
        # The root's slope is infinite at 0, where two images have one embedding.
        return squared_T if self.squared else squared_T.clamp(min=1e-12).sqrt()

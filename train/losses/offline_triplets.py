"""FaceNet's offline triplets: the plan has chosen each identity's opponent, the loss takes the hardest of the two.

Shapes: B images in a batch, D numbers in an embedding, T triplets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .anchors import anchor_pairs
from .loss import TripletLoss
from .registry import check_settings
from .triplet_rules import triplet_hinge


class OfflineTripletLoss(TripletLoss):
    """Farthest positive and nearest negative of identities that the plan has paired, `loss(embeddings, labels)`.

    FaceNet (Schroff et al. 2015, section 3.2): "generate triplets offline every n steps, using the most recent
    network checkpoint and computing the argmin and argmax on a subset of the data". Here a round is the n
    steps: the means are extracted with the newest checkpoint, and a plan with `plan.strategy=doppelganger` and
    `plan.group_size=2` puts beside each seed identity the nearest one of its subspace, the argmin over that subset.
    (Where that one stands in the batch already, the plan puts another of the subspace.) So the loss looks no further
    than the pair. Identities that the plan draws at random, as the default plan does, are paired by chance.

    Images follow each other as planned: a run of equal labels is an identity, the first run is paired with
    the second, the third with the fourth. Both identities of a pair are anchors: every image meets its
    farthest positive of its own run and the nearest image of the partner run. Mean over the violating
    triplets of [d_ap - d_an + m]+, d = 2 - 2·cos, 0 to 4. Memory: float[B, B], some four at once.

    An image alone in its run is a negative only, and an odd last run takes no part. Equal labels side by side
    are one run, so a pair never has one label twice; a label that comes back later is another run. An identity
    that is missing whole (no image readable) shifts the pairs after it: still triplets, but of chance.
    The order is what counts, so the loss takes no references and no memory of past batches.

    >>> loss = OfflineTripletLoss(margin=0.2)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.5200

    Args:
        margin: m; 0.2 in the paper.
    """

    takes_references = False

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        check_settings("offline", {"margin": margin})
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates.

        Raises:
            InputError: shapes that do not fit each other, an empty batch, NaN or infinity.
        """
        run_B = functional.pad((labels[1:] != labels[:-1]).cumsum(0), (1, 0))
        pairs = anchor_pairs(embeddings, run_B)
        partner_BB = (pairs.labels ^ 1)[:, None] == pairs.labels  # 0 with 1, 2 with 3, ...
        anchor_T = pairs.positive.any(dim=1) & partner_BB.any(dim=1)
        distance_BB = pairs.distance()
        d_ap_T = distance_BB.masked_fill(~pairs.positive, -torch.inf).max(dim=1).values[anchor_T]
        d_an_T = distance_BB.masked_fill(~partner_BB, torch.inf).min(dim=1).values[anchor_T]
        loss, self.statistics = triplet_hinge(d_ap_T, d_an_T, self.margin)
        return loss

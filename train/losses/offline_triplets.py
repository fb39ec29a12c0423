"""FaceNet's offline triplets: the plan has chosen each identity's opponent, the loss takes the hardest of the two.

Shapes: B images in a batch, D numbers in an embedding, P and Q images of the largest run but one and of the largest run.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...mining.label_runs import LabelRuns
from ...mining.negative_search import similarities_at
from .loss import TripletLoss, TripletStatistics
from .pair_engine import Outcome, pair_loss, rule
from .registry import check_settings
from .sorted_pairs import SortedPairs
from .triplet_choice import Chosen, hardest_positive, hinge


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
    triplets of [d_ap - d_an + m]+, d = 2 - 2·cos, 0 to 4. Memory is O(B · P).

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
        labels = labels.cpu()
        run_B = functional.pad((labels[1:] != labels[:-1]).cumsum(0), (1, 0))
        loss, statistics = pair_loss("offline", {"margin": self.margin}, embeddings, run_B)
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        return loss


@rule("offline")
def _offline(pairs: SortedPairs, margin: float) -> Outcome:
    run_B = torch.from_numpy(np.unique(pairs.runs.ends[0], return_inverse=True)[1])
    # The images of run 1 under the name of run 0, those of 0 under 1, those of 3 under 2, ...
    partners = LabelRuns.of(run_B, run_B ^ 1).on(pairs.anchors_BD.device)
    place_BQ, exists_BQ = partners.positives
    place_BQ = partners.reference_order[place_BQ]
    cosine_BQ = similarities_at(pairs.anchors_BD, pairs.references_RD, place_BQ)
    cosine_BQ = functional.pad(cosine_BQ.masked_fill(~exists_BQ, -torch.inf), (0, 1), value=-torch.inf)
    cosine_B, nearest_B = cosine_BQ.max(dim=1)
    place_B11 = functional.pad(place_BQ, (0, 1)).gather(1, nearest_B[:, None])[:, :, None]
    exists_B11 = (cosine_B > -torch.inf)[:, None, None]
    positives = (pairs.place_BP, pairs.exists_BP, pairs.positive_cosine)
    chosen = Chosen(*positives, place_B11, exists_B11, cosine_B[:, None, None].clamp(min=-1))
    return hinge(pairs, hardest_positive(chosen), margin)

"""Cosines of a batch, whatever the loss: of one identity, of two, the nearest other, and of images to vectors of classes.

Looked at once a line of the log, on its last batch, where the embeddings are: nothing waits for the device, and a step
between two lines costs nothing.

Shapes: B images in a batch, of which at most `LOOKED_AT` are compared, D numbers in an embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..losses.unit_length import normalized

LOOKED_AT = 2048
"""Images that are compared with each other, 16 MB of cosines: the first ones, in planned batches whole identities."""
TEACHES_WITHIN = 0.1
"""How much farther than its farthest image of its own identity another one may be: epsilon of multi-similarity's mining."""


class BatchCosines(NamedTuple):
    """What a line of the log shows of its last batch, whatever the loss; scalars on its device, NaN where there are none."""

    cosine_positive: Tensor
    """Mean cosine of two images of one identity."""
    cosine_negative: Tensor
    """Mean cosine of two images of two identities."""
    cosine_nearest_negative: Tensor
    """Mean cosine of an image to the nearest one of another identity."""
    active_images: Tensor
    """Share of images, of those that have both, whose nearest other identity is nearer than their farthest own image, or
    less than `TEACHES_WITHIN` farther: those that a loss still learns from (Wang et al. 2019, eq. 7)."""
    cosine_target: Tensor
    """Mean cosine of an image to the vector of its class; NaN without such vectors."""
    cosine_nontarget: Tensor
    """Mean cosine of an image to the nearest vector of another class of the batch."""


@torch.no_grad()
def cosines_of_batch(
    embeddings_BD: Tensor, labels_B: Tensor, vectors_BD: Tensor | None = None
) -> BatchCosines:
    """Compare the images of a batch with each other, and with the vectors of their classes.

    Args:
        embeddings_BD: float[B, D], of any length.
        labels_B: int[B], in any order, on the same device.
        vectors_BD: float[B, D], the vector of each image's own class, of any length; None: the loss has none.

    Example:
        >>> images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> found = cosines_of_batch(images, torch.tensor([0, 0, 1, 1]))
        >>> [round(float(value), 2) for value in found[:4]]
        [0.9, 0.3, 0.45, 0.0]
    """
    unit_BD, labels_B = normalized(embeddings_BD[:LOOKED_AT]).float(), labels_B[:LOOKED_AT]
    same_BB = labels_B[:, None] == labels_B
    positive_BB = same_BB.clone()
    positive_BB.fill_diagonal_(False)
    cosine_BB = unit_BD @ unit_BD.T
    farthest_B = cosine_BB.masked_fill(~positive_BB, torch.inf).amin(dim=1)
    nearest_B = cosine_BB.masked_fill(same_BB, -torch.inf).amax(dim=1)
    several_B, both_B = nearest_B > -torch.inf, (nearest_B > -torch.inf) & (farthest_B < torch.inf)
    target = nontarget = cosine_BB.new_full((), torch.nan)
    if vectors_BD is not None:
        to_class_BB = unit_BD @ normalized(vectors_BD[:LOOKED_AT].detach()).float().T
        target = to_class_BB.diagonal().mean()
        nontarget = _mean_where(to_class_BB.masked_fill(same_BB, -torch.inf).amax(dim=1), several_B)
    return BatchCosines(
        _mean_where(cosine_BB, positive_BB),
        _mean_where(cosine_BB, ~same_BB),
        _mean_where(nearest_B, several_B),
        _mean_where((nearest_B + TEACHES_WITHIN > farthest_B).float(), both_B),
        target,
        nontarget,
    )


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """NaN where none is chosen."""
    return torch.where(chosen, values, 0).sum() / chosen.sum()

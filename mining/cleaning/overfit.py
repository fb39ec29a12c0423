"""Over-fit and drop, the removal of the paper, on embeddings: fit a classifier to the names as they are, and distrust
the images that it gives another name.

The paper over-fits the whole network. Here the embeddings stay, and a direction of each identity is learned: softmax over
scaled cosines (NormFace), begun at the mean. A pass costs n·C·D in place of n forward and backward passes of the network.
What most images of a name share is learned first, and wrong names by heart only later: after three passes over the demo's
glyphs, 20 % of them under wrong names, 97 % of these are not fitted, after ten 83 %. So it stops early.

Identities are told apart C at a time, so 100,000 of them are 50 classifiers of 2,048 and memory stays that of one.

Shapes: n images, I identities, C identities of a classifier, b images of a batch, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from ..randomness import generator
from .identity_blocks import IdentityBlock, IdentityBlocks

SCALE = 16.0
"""Cosines are multiplied by it, as by `pretrain.loss_args.softmax.scale`."""
LEARNING_RATE, BATCH = 0.005, 1024


def own_name_probability(
    blocks: IdentityBlocks,
    *,
    epochs: int = 3,
    classes: int = 2048,
    rounds: int = 2,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The probability of its own name for each image, beside the best other one, by a fitted classifier: float32[n].

    Below 0.5 the classifier gives it another name.

    Args:
        classes: C; every classifier has as many identities, or one less.
        rounds: the classifier is fitted as often, each time to the images that the one before gives their own name.
        progress: called with the number of images that have been judged.

    Example:
        >>> images = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 1, 0]]  # the last has the look of the first
        >>> own = own_name_probability(IdentityBlocks(images, np.array([0, 0, 0, 1, 1, 1, 1, 1])))
        >>> (own < 0.5).tolist()
        [False, False, False, False, False, False, False, True]
    """
    found = np.ones(blocks.images, np.float32)
    for part in blocks.parts(classes):
        random = generator(seed, "clean overfit", part.identities.start)
        kept = torch.ones(len(part.embeddings), dtype=torch.bool, device=blocks.device)
        for _ in range(rounds if len(part.count) > 1 else 0):
            own = _fit(part, kept, epochs, random)
            kept = own >= 0.5
            found[part.images] = own.cpu().numpy()
        if progress:
            progress(len(kept))
    return found


def _fit(part: IdentityBlock, kept: torch.Tensor, epochs: int, random: np.random.Generator) -> torch.Tensor:
    """Fit a direction of each identity to the kept images; what it says of all: float32[b]."""
    images, labels = part.embeddings, part.spread_out(torch.arange(len(part.count), device=kept.device))
    direction_CD = part.sums(images * kept[:, None]).requires_grad_()
    with torch.no_grad():
        direction_CD.copy_(normalize(direction_CD))
    optimizer = torch.optim.Adam([direction_CD], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    rows = kept.nonzero()[:, 0]
    for _ in range(epochs):
        order = torch.from_numpy(random.permutation(len(rows))).to(rows.device)
        for some in rows[order].split(BATCH):
            logits_bC = SCALE * images[some] @ normalize(direction_CD).T
            optimizer.zero_grad()
            cross_entropy(logits_bC, labels[some]).backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        unit_CD = normalize(direction_CD)
        own = [
            _beside_the_best_other(SCALE * some @ unit_CD.T, label[:, None])
            for some, label in zip(images.split(BATCH), labels.split(BATCH), strict=True)
        ]
    return torch.cat(own)


def _beside_the_best_other(logits_bC: torch.Tensor, label_b1: torch.Tensor) -> torch.Tensor:
    own = logits_bC.gather(1, label_b1)
    other = logits_bC.scatter(1, label_b1, -torch.inf).amax(1, keepdim=True)
    return (own - other).sigmoid()[:, 0]

"""The batch plan: which identities and images every training step sees, as a pure function.

Two numbers span the field: subspace size n (decided by `subspaces.py`) and group size g. A batch of P
identities is P/g seeds from one subspace, each with its g-1 nearest identities of that subspace:

    n = all,    g = 1     random batches
    n = 10,000, g = 1     subspace learning (Wang, Zhang, Lan 2017)
    n = 10,000, g = 2..8  doppelganger groups inside a subspace (Smirnov et al. 2017)
    any n,      g = P     graph sampling (Liao, Shao 2022): every identity anchors one batch

What every plan keeps, and where: each identity seeds once in a pass (`seed_turns.py`), no identity is in a batch twice, nor
beside a duplicate where those are given (`distinct_batches.py`), and an identity's images are all used before any is used again (`image_decks.py`).

Shapes: I identities, b batches in a block, S seeds and P identities in a batch, K images of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..manifest import IdentityImages
from ..randomness import generator
from .distinct_batches import DistinctBatches
from .image_decks import ImageDecks
from .pairs_apart import PairsApart
from .seed_turns import Members, SeedTurns, Turns, batches_of, members_of
from .settings import PlanConfig

BATCHES_PER_BLOCK = 1024
"""Part of the function, since a block is drawn with a generator of its own: changing it changes every plan."""


@dataclass(frozen=True)
class PlanBlock:
    """Consecutive batches of a plan.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import IdentityImages, PlanConfig, plan_batches
        >>> images = IdentityImages(np.arange(4), np.arange(0, 9, 2), np.arange(8))  # 4 identities, 2 images each
        >>> config = PlanConfig(steps=2, P=2, K=2, strategy="subspace")
        >>> [block] = plan_batches(images, np.array([0, 0, 1, 1]), config)
        >>> block.step.tolist(), block.identity.shape, block.image_id.shape
        ([0, 1], (2, 2), (2, 4))
    """

    step: np.ndarray
    """int64[b]."""
    subspace_id: np.ndarray
    """int32[b]; -1 where batches are drawn from all identities."""
    identity: np.ndarray
    """int64[b, P], row numbers into the identities given to `plan_batches`, distinct within a batch."""
    image_id: np.ndarray
    """int64[b, P·K]; image i belongs to identity i // K. Fewer than K images: they repeat."""

    def __len__(self) -> int:
        return len(self.step)


def plan_batches(
    images: IdentityImages,
    subspace_id: np.ndarray,
    config: PlanConfig,
    *,
    neighbors: np.ndarray | None = None,
    second_subspace: np.ndarray | None = None,
    apart: np.ndarray | None = None,
    seed: int = 0,
    round_index: int = 0,
) -> Iterator[PlanBlock]:
    """Yield `config.steps` batches, block by block; the same arguments always give the same plan.

    The plan goes in passes. In a pass every identity is a seed exactly once: each subspace's identities
    are shuffled and cut into batches (the last one wraps around), and the batches are put in `order`.
    An identity that would appear twice in a batch is replaced by another of the same subspace, and by
    anybody only where the subspace has no more; so is one beyond `config.max_appearances`, but never in
    its own turn. With `random_fraction=1` all identities are one subspace, of the number -1.

    All images of an identity are used before any of them is again, from the first pass to the last.
    Memory is one block, the image ids once more, and about 20 bytes an identity (30 with a limit).

    Args:
        images: the I identities to draw from, with their images.
        subspace_id: int32[I].
        neighbors: int32[I, >= g-1] nearest identities inside the subspace, -1 for none; needed when g > 1. Those
            beyond g-1 take the places of neighbours that `apart` bars.
        second_subspace: int32[I], where subspaces overlap: an identity is a member of this one as well (-1:
            of none) and seeds once in each, with the same group.
        apart: int[p, 2], pairs of identities that no batch holds both of (suspected duplicates). Of two who seed
            the same batch one then loses its turn in this pass; where all others are barred, they meet after all.

    Raises:
        InputError: fewer than P identities, or g > P, no neighbours given for g > 1, or more places in a
            pass than `max_appearances` allows to fill.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import IdentityImages, PlanConfig, plan_batches
        >>> images = IdentityImages(np.arange(4), np.arange(0, 9, 2), np.arange(8))  # 4 identities, 2 images each
        >>> config = PlanConfig(steps=2, P=2, K=2, strategy="subspace")
        >>> [block] = plan_batches(images, np.array([0, 0, 1, 1]), config, seed=0)
        >>> sorted(sorted(batch) for batch in block.identity.tolist())
        [[0, 1], [2, 3]]
    """
    _check(images, subspace_id, config, neighbors, second_subspace)
    grouped = config.seeds_per_batch > 0
    members = members_of(subspace_id, second_subspace) if grouped else members_of(np.zeros_like(subspace_id))
    pairs = None if apart is None else PairsApart(apart, len(images))
    if pairs is not None and neighbors is not None:
        neighbors = pairs.nearest_apart(neighbors, config.draw.group_size - 1)
    allowed = _room(members, len(images), config)
    decks = ImageDecks(images, config.max_images, generator(seed, "plan", round_index, "images"))
    step, pass_index = 0, 0
    while step < config.steps:
        key = (seed, "plan", round_index, pass_index)
        seeds, window = config.seeds_per_batch or config.P, config.locality_window
        turns = SeedTurns(members, seeds, config.order, window and window * seeds, generator(*key, "order"))
        batches = DistinctBatches(members, len(images), None if allowed is None else allowed.copy(), pairs)
        count = min(len(turns), config.steps - step)
        for first in range(0, count, BATCHES_PER_BLOCK):
            # Draw the whole block even where the plan ends inside it: a longer plan begins with a shorter one.
            drawn, random = turns[first : first + BATCHES_PER_BLOCK], generator(*key, first)
            identity_bP, own_bP = _candidates(drawn, len(images), config, neighbors, random)
            home = seeds * config.draw.group_size if grouped else config.P
            batches.settle(identity_bP, own_bP, drawn.subspace, home, random)
            image_bPK = decks.deal(identity_bP.ravel(), config.K, random).reshape(len(identity_bP), -1)
            kept = min(len(identity_bP), count - first)
            yield PlanBlock(
                np.arange(step + first, step + first + kept, dtype=np.int64),
                drawn.subspace[:kept] if grouped else np.full(kept, -1, np.int32),
                identity_bP[:kept],
                image_bPK[:kept],
            )
        step, pass_index = step + count, pass_index + 1


def _check(
    images: IdentityImages,
    subspace_id: np.ndarray,
    config: PlanConfig,
    neighbors: np.ndarray | None,
    second_subspace: np.ndarray | None,
) -> None:
    for ids in (subspace_id, subspace_id if second_subspace is None else second_subspace):
        if len(ids) != len(images):
            raise InputError(
                f"{len(ids)} subspace ids for {len(images)} identities; run `subspace cluster` again"
            )
    if len(images) < config.P:
        raise InputError(
            f"plan.P={config.P} identities in a batch, but only {len(images)} to draw from; set plan.P lower"
        )
    g = config.draw.group_size
    if g > 1 and config.seeds_per_batch and (neighbors is None or neighbors.shape[1] < g - 1):
        raise InputError(f"plan.group_size={g} needs {g - 1} neighbours of every identity")


def _room(members: Members, total: int, config: PlanConfig) -> np.ndarray | None:
    """Appearances that `max_appearances` leaves to each identity beside its own turns in a pass, int32[I]."""
    if config.max_appearances is None:
        return None
    places = config.P * int(batches_of(members, config.seeds_per_batch or config.P).sum())
    if places > config.max_appearances * total:
        raise InputError(
            f"plan.max_appearances={config.max_appearances} leaves {places:,} places of a pass to {total:,} "
            f"identities; set it to {-(-places // total)} or more"
        )
    turns = np.bincount(members.identity, minlength=total)
    return np.maximum(config.max_appearances - turns, 0).astype(np.int32)


def _candidates(
    turns: Turns,
    total: int,
    config: PlanConfig,
    neighbors: np.ndarray | None,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Seeds with their groups, then identities from anywhere: int64[b, P], repeats and -1 possible.

    With it bool[b, P]: where a seed has its own turn.
    """
    (b, S), g, P = turns.seed.shape, config.draw.group_size, config.P
    if g == 1 or neighbors is None or not config.seeds_per_batch:
        g, groups = 1, turns.seed
    else:
        groups = np.concatenate((turns.seed[:, :, None], neighbors[turns.seed, : g - 1]), axis=2)
    own_bP = np.zeros((b, P), bool)
    own_bP[:, : S * g : g] = turns.own
    anywhere = random.integers(total, size=(b, P - S * g))
    return np.concatenate((groups.reshape(b, S * g), anywhere), axis=1).astype(np.int64), own_bP

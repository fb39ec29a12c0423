"""The batch plan: which identities and images every training step sees, as a pure function.

Two numbers span the field: subspace size n (decided by `subspaces.py`) and group size g. A batch of P
identities is P/g seeds from one subspace, each with its g-1 nearest identities of that subspace:

    n = all,    g = 1     random batches
    n = 10,000, g = 1     subspace learning (Wang, Zhang, Lan 2017)
    n = 10,000, g = 2..8  doppelganger groups inside a subspace (Smirnov et al. 2017)
    any n,      g = P     graph sampling (Liao, Shao 2022): every identity anchors one batch

Shapes: I identities, b batches in a block, P identities in a batch, K images of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from .errors import InputError
from .manifest import IdentityImages
from .randomness import generator
from .settings import Settings

# Parts of the function: changing one changes every plan.
BATCHES_PER_BLOCK = 1024
TRIES = 16


class PlanConfig(Settings):
    """What a batch is made of."""

    steps: int = Field(
        default=1000, ge=1, description="batches in a round; clusters are renewed after each round"
    )
    P: int = Field(default=48, ge=2, description="identities in a batch")
    K: int = Field(default=4, ge=1, description="images of each identity in a batch")
    group_size: int = Field(
        default=1, ge=1, description="g: a seed and its g-1 nearest identities of the subspace"
    )
    random_fraction: float = Field(
        default=0.0, ge=0, le=1, description="share of the batch drawn from all identities"
    )
    order: Literal["interleaved", "sequential"] = Field(
        default="interleaved", description="batches of all subspaces shuffled, or subspace after subspace"
    )
    singletons: Literal["negatives_only", "drop", "augment"] = Field(
        default="negatives_only",
        description="identities with one image: negatives only, left out, or augmented into pairs",
    )

    @model_validator(mode="after")
    def _a_group_fits(self) -> PlanConfig:
        if self.seeds_per_batch == 0 and self.random_fraction < 1:
            raise ValueError(
                f"plan.group_size={self.group_size} does not fit into the {1 - self.random_fraction:.0%} of "
                f"plan.P={self.P} that plan.random_fraction={self.random_fraction} leaves"
            )
        return self

    @property
    def seeds_per_batch(self) -> int:
        """Groups in a batch; the rest of the batch, P - g · seeds, is drawn from all identities."""
        return min(self.P // self.group_size, round((1 - self.random_fraction) * self.P / self.group_size))


@dataclass(frozen=True)
class PlanBlock:
    """Consecutive batches of a plan."""

    step: np.ndarray
    """int64[b]."""
    subspace_id: np.ndarray
    """int32[b]."""
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
    seed: int = 0,
    round_index: int = 0,
) -> Iterator[PlanBlock]:
    """Yield `config.steps` batches, block by block; the same arguments always give the same plan.

    The plan goes in passes. In a pass every identity is a seed exactly once: each subspace's identities
    are shuffled and cut into batches (the last one wraps around), and the batches are put in `order`.
    An identity that would appear twice in a batch is replaced by another of the same subspace, and by
    anybody only where the subspace has no more. Memory is O(I) and one block.

    Args:
        images: the I identities to draw from, with their images.
        subspace_id: int32[I].
        neighbors: int32[I, >= g-1] nearest identities inside the subspace, -1 for none; needed when g > 1.

    Raises:
        InputError: fewer than P identities, or g > P, or no neighbours given for g > 1.
    """
    _check(images, subspace_id, config, neighbors)
    step = 0
    for pass_index in range(config.steps):
        pass_ = _Pass(images, subspace_id, config, neighbors, (seed, "plan", round_index, pass_index))
        for block in pass_.blocks(step, config.steps):
            yield block
            step += len(block)
        if step >= config.steps:
            return


def _check(
    images: IdentityImages, subspace_id: np.ndarray, config: PlanConfig, neighbors: np.ndarray | None
) -> None:
    if len(subspace_id) != len(images):
        raise InputError(
            f"{len(subspace_id)} subspace ids for {len(images)} identities; run `subspace cluster` again"
        )
    if len(images) < config.P:
        raise InputError(
            f"plan.P={config.P} identities in a batch, but only {len(images)} to draw from; set plan.P lower"
        )
    wanted = config.group_size - 1
    if wanted and (neighbors is None or neighbors.shape[1] < wanted):
        raise InputError(f"plan.group_size={config.group_size} needs {wanted} neighbours of every identity")


class _Pass:
    """One pass over all identities: who seeds which batch, and in what order the batches come."""

    def __init__(
        self,
        images: IdentityImages,
        subspace_id: np.ndarray,
        config: PlanConfig,
        neighbors: np.ndarray | None,
        key: tuple[int, str, int, int],
    ) -> None:
        self.images, self.config, self.neighbors, self.key = images, config, neighbors, key
        random = generator(*key, "order")
        shuffled = random.permutation(len(images))
        self.members = shuffled[np.argsort(subspace_id[shuffled], kind="stable")]
        self.size = np.bincount(subspace_id)
        self.start = np.cumsum(self.size) - self.size

        batches = -(-self.size // max(1, config.seeds_per_batch))
        self.batch_subspace = np.repeat(np.arange(len(batches)), batches)
        self.batch_number = np.arange(len(self.batch_subspace)) - np.repeat(
            np.cumsum(batches) - batches, batches
        )
        if config.order == "interleaved":
            order = random.permutation(len(self.batch_subspace))
        else:
            turn = random.permutation(len(batches))
            order = np.argsort(turn[self.batch_subspace], kind="stable")
        self.batch_subspace, self.batch_number = self.batch_subspace[order], self.batch_number[order]

    def blocks(self, step: int, steps: int) -> Iterator[PlanBlock]:
        count = min(len(self.batch_subspace), steps - step)
        for first in range(0, count, BATCHES_PER_BLOCK):
            # Draw the whole block even where the plan ends inside it: a longer plan begins with a shorter one.
            whole = slice(first, first + BATCHES_PER_BLOCK)
            random = generator(*self.key, first)
            subspace = self.batch_subspace[whole]
            identity_bP = self._without_repeats(self._candidates(whole, random), subspace, random)
            image_bPK = self._draw_images(identity_bP, random)
            kept = min(len(subspace), count - first)
            yield PlanBlock(
                np.arange(step + first, step + first + kept, dtype=np.int64),
                subspace[:kept].astype(np.int32),
                identity_bP[:kept],
                image_bPK[:kept],
            )

    def _candidates(self, batches: slice, random: np.random.Generator) -> np.ndarray:
        """Seeds with their groups, then identities from anywhere: int64[b, P], repeats and -1 possible."""
        subspace, number = self.batch_subspace[batches], self.batch_number[batches]
        seeds, g, P = self.config.seeds_per_batch, self.config.group_size, self.config.P
        turn_bS = (number[:, None] * seeds + np.arange(seeds)) % self.size[subspace][:, None]
        seed_bS = self.members[self.start[subspace][:, None] + turn_bS]
        groups_bSg = seed_bS[:, :, None]
        if g > 1 and self.neighbors is not None:
            groups_bSg = np.concatenate((groups_bSg, self.neighbors[seed_bS, : g - 1]), axis=2)
        anywhere = random.integers(len(self.images), size=(len(subspace), P - seeds * g))
        return np.concatenate((groups_bSg.reshape(len(subspace), seeds * g), anywhere), axis=1).astype(
            np.int64
        )

    def _without_repeats(
        self, identity_bP: np.ndarray, subspace: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        """Replace every repeat (and every -1) by an identity that its batch does not hold yet."""
        start, size = self.start, self.size
        if self.config.seeds_per_batch == 0:  # wholly random batches have no home
            start, size = np.zeros_like(start), np.full_like(size, len(self.members))
        for _ in range(TRIES):
            batch, column = np.nonzero(_repeats(identity_bP))
            if len(batch) == 0:
                return identity_bP
            home = subspace[batch]
            place = (random.random(len(home)) * size[home]).astype(np.int64)
            identity_bP[batch, column] = self.members[start[home] + place]
        # Chance does not settle it where the subspace is hardly larger than the batch, or smaller.
        repeat_bP = _repeats(identity_bP)
        for batch in np.flatnonzero(repeat_bP.any(axis=1)):
            home = slice(
                self.start[subspace[batch]], self.start[subspace[batch]] + self.size[subspace[batch]]
            )
            row, repeat = identity_bP[batch], repeat_bP[batch]
            row[repeat] = _others(row[~repeat], self.members[home], len(self.images), repeat.sum(), random)
        return identity_bP

    def _draw_images(self, identity_bP: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """K images of each identity without repetition where it has K (Floyd's sampling), else all of them in turn."""
        K = self.config.K
        owner = identity_bP.ravel()
        count = self.images.offset[owner + 1] - self.images.offset[owner]
        uniform = random.random((len(owner), K))
        chosen = np.empty((len(owner), K), np.int64)
        for k in range(K):
            last = count - K + k
            pick = (uniform[:, k] * (last + 1)).astype(np.int64)
            taken = (chosen[:, :k] == pick[:, None]).any(axis=1)
            chosen[:, k] = np.where(taken, last, pick)
        few = count < K
        turn = (uniform[few, :1] * count[few, None]).astype(np.int64) + np.arange(K)
        chosen[few] = turn % count[few, None]
        image_id = self.images.image_id[self.images.offset[owner][:, None] + chosen]
        return image_id.reshape(len(identity_bP), -1)


def _repeats(identity_bP: np.ndarray) -> np.ndarray:
    """bool[b, P]: entries that stand further left in their batch already, or are -1."""
    order = np.argsort(identity_bP, axis=1, kind="stable")
    ranked = np.take_along_axis(identity_bP, order, axis=1)
    repeat = np.zeros(identity_bP.shape, bool)
    np.put_along_axis(repeat, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return repeat | (identity_bP < 0)


def _others(
    held: np.ndarray, near: np.ndarray, total: int, wanted: int, random: np.random.Generator
) -> np.ndarray:
    """Draw `wanted` identities that are not `held`: from `near` while there are any, then from all."""
    drawn = random.permutation(np.setdiff1d(near, held))[:wanted]
    while len(drawn) < wanted:
        more = np.setdiff1d(random.integers(total, size=4 * wanted), np.concatenate((held, drawn)))
        drawn = np.concatenate((drawn, random.permutation(more)[: wanted - len(drawn)]))
    return drawn

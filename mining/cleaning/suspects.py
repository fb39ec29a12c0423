"""All suspects of a set of embedded images: wrong images, mixed and duplicate identities, near repeats.

Shapes: n images, I identities, p pairs, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ..clustering.duplicate_trust import mutual_pairs
from ..clustering.duplicates import suspected_duplicates
from .better_identity import find_better_identities, random_partners, stranger_similarity
from .identity_blocks import IdentityBlocks
from .mixed_identities import find_mixed_identities
from .near_repeats import pair_cosines, repeats_across, repeats_within
from .overfit import own_name_probability
from .robust_means import OwnSimilarity, find_robust_means
from .settings import REASONS, CleanConfig, Reason
from .strangers import Verdict, stranger_probability

PASSES = 7
"""Times that the progress of `find_suspects` goes over all images; those that are looked up come on top."""
ONE_STRANGER_IN = 1000
"""An image that fewer strangers are as near as is not looked up elsewhere."""


class Suspects(NamedTuple):
    """Suspects of one reason."""

    image: np.ndarray
    """int64[s], rows of the images; -1 for an identity as a whole."""
    identity: np.ndarray
    """int64[s], places of their identities."""
    score: np.ndarray
    """float32[s]: the probability that it is wrong; of duplicates, repeats and shared images the cosine."""
    other_identity: np.ndarray
    """int64[s], places of the identities that they resemble; -1 for none."""
    other_image: np.ndarray
    """int64[s], rows of the images that they repeat; -1 for none."""

    @classmethod
    def of(
        cls,
        blocks: IdentityBlocks,
        image: np.ndarray,
        score: np.ndarray,
        other_identity: np.ndarray | None = None,
        other_image: np.ndarray | None = None,
    ) -> Suspects:
        """Suspected images."""
        none = np.full(len(image), -1)
        return cls(
            image,
            np.searchsorted(blocks.offset, image, side="right") - 1,
            score.astype(np.float32),
            none if other_identity is None else other_identity,
            none if other_image is None else other_image,
        )


@dataclass(frozen=True)
class Findings:
    """What was found."""

    suspects: Mapping[Reason, Suspects]
    """What is suspected, by reason."""
    shares: Mapping[str, float]
    """Estimates of how many are wrong: outlier, wrong_name (of the images), mixed (of the identities)."""

    def kept(self, blocks: IdentityBlocks, settings: CleanConfig) -> np.ndarray:
        """bool[n]: images that stay, by the reasons of `settings.drop` and with `settings.min_images` left."""
        kept = np.ones(blocks.images, bool)
        for reason in settings.drop:
            if reason in self.suspects:
                found = self.suspects[reason]
                kept[found.image[found.image >= 0]] = False
                for identity in found.identity[found.image < 0].tolist():
                    kept[blocks.offset[identity] : blocks.offset[identity + 1]] = False
        left = np.add.reduceat(kept.astype(np.int64), blocks.offset[:-1])
        lost = (left < blocks.count) & (left < settings.min_images)
        return kept & ~np.repeat(lost, blocks.count)


def find_suspects(
    blocks: IdentityBlocks,
    settings: CleanConfig | None = None,
    *,
    means_ID: np.ndarray | None = None,
    subspace_id: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Findings:
    """Look for everything that may be wrong with the names of images.

    Memory: a block, some 100 bytes an image, and the means, unless these are given as a memory map to write into.

    Args:
        means_ID: float32[I, D] to write into.
        subspace_id: int[I], subspaces in which duplicates are searched; one for all by default.
        progress: called with numbers of images, about `PASSES` times n in all.

    Example:
        >>> random = np.random.default_rng(0)
        >>> people = random.normal(size=(400, 64)).repeat(8, axis=0) + 0.5 * random.normal(size=(3200, 64))
        >>> images = (people / np.linalg.norm(people, axis=1, keepdims=True)).astype(np.float32)
        >>> images[0] = images[3000]  # a picture of another person
        >>> found = find_suspects(IdentityBlocks(images, np.arange(400).repeat(8)))
        >>> {reason: some.image.tolist() for reason, some in found.suspects.items() if len(some.image)}
        {'wrong_name': [0], 'shared': [0, 3000]}
        >>> found.suspects["wrong_name"].other_identity.tolist()
        [375]
    """
    settings = settings or CleanConfig()
    search = _Search(blocks, settings, seed, progress or (lambda images: None))
    own = find_robust_means(blocks, means_ID, search.progress)
    found, shares = search.mixed(own)
    if settings.method == "overfit":
        found |= search.unfit()
    elif len(blocks.identity_id) > 1:
        more, of_images = search.strangers(own)
        found, shares = found | more, shares | of_images
    wrong = np.zeros(blocks.images, bool)
    for suspects in found.values():
        wrong[suspects.image] = True
    found["duplicate"] = search.duplicates(own.means, wrong, subspace_id)
    found |= search.repeats()
    return Findings({reason: found[reason] for reason in REASONS if reason in found}, shares)


class _Search:
    """One search for suspects."""

    def __init__(
        self, blocks: IdentityBlocks, settings: CleanConfig, seed: int, progress: Callable[[int], None]
    ) -> None:
        self.blocks, self.settings, self.seed, self.progress = blocks, settings, seed, progress

    def mixed(self, own: OwnSimilarity) -> tuple[dict[Reason, Suspects], dict[str, float]]:
        """The lesser halves of mixed identities."""
        found = find_mixed_identities(self.blocks, own.means, seed=self.seed, progress=self.progress)
        of_image = np.repeat(found.probability, self.blocks.count)
        image = np.flatnonzero((of_image >= self.settings.probability) & found.lesser_n)
        return {"mixed": Suspects.of(self.blocks, image, of_image[image])}, {"mixed": found.share}

    def unfit(self) -> dict[Reason, Suspects]:
        """What a classifier cannot fit."""
        settings = self.settings
        strange = 1 - own_name_probability(
            self.blocks,
            epochs=settings.overfit_epochs,
            classes=settings.overfit_classes,
            rounds=settings.overfit_rounds,
            seed=self.seed,
            progress=self.progress,
        )
        image = np.flatnonzero(strange >= settings.probability)
        return {"unfit": Suspects.of(self.blocks, image, strange[image])}

    def strangers(self, own: OwnSimilarity) -> tuple[dict[Reason, Suspects], dict[str, float]]:
        """What is as far from its identity as strangers are: at home with another one, or with none."""
        blocks, count, own_n = self.blocks, self.blocks.count, own.own
        partner, others_n = random_partners(len(count), self.seed), np.repeat(count - 1, count)
        stranger_n = stranger_similarity(blocks, own.means, partner, self.progress)
        outlier = stranger_probability(own_n, others_n, stranger_n, np.repeat(count[partner], count))

        image = np.flatnonzero(own_n <= np.quantile(stranger_n, 1 - 1 / ONE_STRANGER_IN))
        other, cosine = find_better_identities(blocks, own.means, image, self.progress)
        # How much nearer another identity is. A wrong name is as much nearer to its right one as an image that
        # surely is at home is to its own identity than to a stranger.
        gain_n = np.where(np.isfinite(own_n), -np.inf, np.nan)
        gain_n[image] = cosine - own_n[image]
        sure = np.isfinite(own_n)
        sure[image] = False
        wrong_name = _by_gain(gain_n, others_n, (own_n - stranger_n)[sure], others_n[sure])
        renamed = (wrong_name.probability[image] >= self.settings.probability) & (gain_n[image] > 0)
        strange = outlier.probability >= self.settings.probability
        strange[image[renamed]] = False
        rows = np.flatnonzero(strange)
        found: dict[Reason, Suspects] = {
            "wrong_name": Suspects.of(
                blocks, image[renamed], wrong_name.probability[image[renamed]], other[renamed]
            ),
            "outlier": Suspects.of(blocks, rows, outlier.probability[rows]),
        }
        return found, {"outlier": outlier.share, "wrong_name": wrong_name.share}

    def duplicates(
        self, means_ID: np.ndarray, wrong_n: np.ndarray, subspace_id: np.ndarray | None
    ) -> Suspects:
        """Pairs of identities that may be one, by the means of what is not suspected; the smaller of each is listed.

        `means_ID` is written over.
        """
        spread, images = _means_without(self.blocks, wrong_n, means_ID, self.progress)
        some = np.flatnonzero(images)
        _move_to_front(means_ID, some)
        of = np.zeros(len(some), np.int64) if subspace_id is None else subspace_id[some]
        pairs = suspected_duplicates(
            means_ID[: len(some)],
            spread[some],
            images[some],
            of,
            within=self.settings.duplicates_within,
            device=self.blocks.device,
            progress=lambda identities: self.progress(round(identities * self.blocks.images / len(some))),
        )
        # To be merged, each must be the other's nearest: of a crowd of look-alikes most pairs are no duplicates.
        mutual = np.sort(mutual_pairs(pairs.a, pairs.b, pairs.similarity))
        a, b, similarity = some[pairs.a[mutual]], some[pairs.b[mutual]], pairs.similarity[mutual]
        a_is_smaller = images[a] < images[b]
        smaller, larger = np.where(a_is_smaller, a, b), np.where(a_is_smaller, b, a)
        none = np.full(len(a), -1)
        return Suspects(none, smaller, similarity, larger, none)

    def repeats(self) -> dict[Reason, Suspects]:
        """Nearly equal images, of one identity and of two."""
        blocks, similarity = self.blocks, self.settings.repeat_similarity
        first = repeats_within(blocks, similarity, self.progress)
        again = np.flatnonzero(first >= 0)
        cosine = pair_cosines(blocks, np.stack([again, first[again]], axis=1))
        within = Suspects.of(blocks, again, cosine, other_image=first[again])
        pairs, cosine = repeats_across(blocks, similarity, seed=self.seed)
        both = np.concatenate([pairs, pairs[:, ::-1]])
        image, at = np.unique(both[:, 0], return_index=True)
        other = both[at, 1]
        owner = np.searchsorted(blocks.offset, other, side="right") - 1
        across = Suspects.of(blocks, image, np.tile(cosine, 2)[at], owner, other)
        return {"repeat": within, "shared": across}


def _by_gain(gain_n: np.ndarray, images_n: np.ndarray, sure_m: np.ndarray, images_m: np.ndarray) -> Verdict:
    """As `stranger_probability`, of gains: the higher, the more likely wrong; an image not looked up gains nothing."""
    looked_up = np.isfinite(gain_n)
    least = min(float(sure_m.min(initial=0)), float(gain_n[looked_up].min(initial=0)))
    return stranger_probability(-np.where(np.isneginf(gain_n), least, gain_n), images_n, -sure_m, images_m)


def _move_to_front(means_ID: np.ndarray, rows: np.ndarray) -> None:
    """Let some rows, ascending, be the first ones, in place: the means may be a map larger than memory."""
    for start in range(0, len(rows), 65_536):
        some = rows[start : start + 65_536]
        if some[-1] != start + len(some) - 1:
            means_ID[start : start + len(some)] = means_ID[some]


def _means_without(
    blocks: IdentityBlocks, wrong_n: np.ndarray, means_ID: np.ndarray, progress: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Write the means of the images that are not `wrong_n`; return their spread, float[I], and number, int64[I]."""
    spread, images = np.zeros(len(means_ID)), np.zeros(len(means_ID), np.int64)
    for block in blocks:
        right = torch.from_numpy(~wrong_n[block.images]).to(blocks.device)
        summed, count = block.sums(block.embeddings * right[:, None]), block.sums(right.float())
        length = summed.norm(dim=1)
        means_ID[block.identities] = (summed / length.clamp(min=1e-12)[:, None]).cpu().numpy()
        spread[block.identities] = (1 - length / count.clamp(min=1)).clamp(0, 1).cpu().numpy()
        images[block.identities] = count.cpu().numpy()
        progress(len(right))
    return spread, images

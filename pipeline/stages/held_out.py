"""What a network is examined on: the test identities, or the validation identities, by which a run decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from ...mining.evaluation.pairs import evaluation_pairs, first_of_each
from ...mining.evaluation.registry import is_retrieval
from ...mining.evaluation.settings import EvalConfig, ValidationConfig
from ...mining.manifest import Manifest
from ...mining.randomness import derived_seed, generator
from ..configuration.config import RunConfig
from .stage import flat_fields

FLAGS = ["is_query", "is_gallery"]
"""Columns of a manifest that say what an image is for."""


class Chosen(NamedTuple):
    """Images that a network is examined on, int64 image ids."""

    gallery: np.ndarray
    probe: np.ndarray
    distractor: np.ndarray
    unpaired: int
    """Identities that are left out, since no two images of them make a pair; they are distractors."""


class Ranked(NamedTuple):
    """Images of the retrieval metrics: all gallery images are ranked for each query. int64 image ids."""

    query: np.ndarray
    gallery: np.ndarray
    leave_one_out: bool
    """Whether the gallery is the queries, each against all others."""
    words: str
    """How they were chosen."""


class Examined(NamedTuple):
    """All that an examination embeds."""

    pairs: Chosen
    """Without distractors where no metric asks for them."""
    ranked: Ranked | None
    """None where no retrieval metric is asked for."""

    @property
    def images(self) -> np.ndarray:
        """int64, ascending, each once."""
        ranked = () if self.ranked is None else (self.ranked.query, self.ranked.gallery)
        return np.unique(np.concatenate((*self.pairs[:3], *ranked)))


@dataclass(frozen=True)
class HeldOut:
    """Identities that are not trained on, and how a network is examined on them."""

    stage: str
    setting: str
    """The setting that names the splits."""
    splits: tuple[str, ...]
    without: tuple[str, ...]
    """Splits whose identities are left out, whatever other split they are in."""
    distractor_splits: tuple[str, ...]
    settings: EvalConfig
    seed: int
    limit: int | None
    """At most this many identities with pairs, drawn by seed."""

    @classmethod
    def test(cls, config: RunConfig) -> HeldOut:
        """The test identities: what a run is worth, and never what it decides by."""
        data, seed = config.data, config.seed
        return cls(
            "eval", "data.test_splits", data.test_splits, (), data.distractor_splits,
            config.eval, seed, None,
        )  # fmt: skip

    @classmethod
    def validation(cls, config: RunConfig) -> HeldOut:
        """The validation identities; a test identity is not among them, not even as a distractor."""
        data, settings, tests = config.data, config.validation, config.data.test_splits
        others = tuple(split for split in data.distractor_splits if split not in tests)
        return cls(
            "validate", "data.val_splits", data.val_splits, tests, others,
            settings, config.seed, settings.identities,
        )  # fmt: skip

    @property
    def section(self) -> str:
        """The section of the settings."""
        return "validation" if isinstance(self.settings, ValidationConfig) else "eval"

    @property
    def fields(self) -> dict[str, Any]:
        """What the choice of images and the metrics are a function of, beside the manifest."""
        # left out while they are not set: runs made before there were such settings keep their fingerprints
        unset = tuple(
            name for name in ("metrics", "flip", "ignore_groups") if not getattr(self.settings, name)
        )
        return {
            "seed": self.seed,
            self.setting: list(self.splits),
            **({"data.test_splits": list(self.without)} if self.without else {}),
            "data.distractor_splits": list(self.distractor_splits),
            **flat_fields(self.section, self.settings.model_dump(), without=unset),
        }

    def is_in(self, manifest: Manifest) -> bool:
        """Whether the manifest has any image of them."""
        return len(self._images(manifest)) > 0

    def has_flags_in(self, manifest: Manifest) -> bool:
        """Whether the choice of images goes by the manifest's flags; columns that mark nothing change nothing."""
        return has_flags(manifest) and query_and_gallery(manifest, self._images(manifest)) is not None

    def problem(self, manifest: Manifest) -> str | None:
        """Why networks cannot be told apart on these identities, in words; None where they can."""
        try:
            gallery, _, distractor = self.choose_images(manifest)
        except InputError as error:
            return str(error)
        if len(gallery) + len(distractor) < 2:
            named = f"{self.setting}={','.join(self.splits)}"
            return f"{manifest.path}, {named}: one identity alone, which every network finds"
        return None

    def choose_images(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image ids of gallery, probes and distractors: a function of manifest, seed and settings.

        Raises:
            InputError: no such identities, or none with two images (of different groups).
        """
        chosen = self.choose(manifest)
        return chosen.gallery, chosen.probe, chosen.distractor

    def choose_examined(self, manifest: Manifest) -> Examined:
        """The images of all metrics that the settings name: pairs, and what retrieval ranks.

        Raises:
            InputError: as `choose_images`.
        """
        pairs, names = self.choose(manifest), self.settings.metric_names
        if all(map(is_retrieval, names)):
            pairs = pairs._replace(distractor=pairs.distractor[:0])
        ranked = self._ranked(manifest, pairs.gallery) if any(map(is_retrieval, names)) else None
        return Examined(pairs, ranked)

    def _ranked(self, manifest: Manifest, mated: np.ndarray) -> Ranked:
        images = self._images(manifest)
        identity_id = manifest.identity_id
        if self.limit is not None and self.limit <= len(mated):
            images = images[np.isin(identity_id[images], identity_id[mated])]
        images = images[first_of_each(identity_id[images], manifest.files_of(images))]
        words = "all images of each identity"
        if not self.settings.ignore_groups and "group" in manifest.columns:
            words += ", those of its group left out of an image's ranking"
        sides = query_and_gallery(manifest, images)
        if sides is None:
            return Ranked(images, images, True, f"{words}, each image against all others")
        neither = int((~sides[0] & ~sides[1]).sum())
        words += ", queries and gallery as is_query and is_gallery say"
        if neither:
            words += f" ({neither:,} images are neither)"
        return Ranked(images[sides[0]], images[sides[1]], False, words)

    def choose(self, manifest: Manifest) -> Chosen:
        """As `choose_images`, with how many identities have no pair."""
        images = self._images(manifest)
        named = f"{self.setting}={','.join(self.splits)}"
        if not manifest.in_splits(self.splits).any():
            raise InputError(
                f"{manifest.path} has no images in {named} (its splits: {', '.join(manifest.splits)})"
            )
        if len(images) == 0:
            raise InputError(
                f"{manifest.path}: every identity in {named} is also in data.test_splits={','.join(self.without)}, "
                f"and those are left out"
            )
        if self.section == "eval":
            refuse_one_sided(manifest, images)
        identity_id, groups = manifest.identity_id, None
        if not self.settings.ignore_groups:
            groups = manifest.groups()
        sides = query_and_gallery(manifest, images)
        if sides is not None:
            images = images[sides[0] | sides[1]]
            sides = query_and_gallery(manifest, images)
        files = manifest.files_of(images)
        try:
            pairs = evaluation_pairs(
                identity_id[images],
                None if groups is None else groups[images],
                probes_per_identity=self.settings.probes_per_identity,
                seed=derived_seed(self.seed, "eval pairs"),
                file=files,
                is_query=None if sides is None else sides[0],
                is_gallery=None if sides is None else sides[1],
            )
        except InputError as error:
            if groups is not None and _two_files_of_any(identity_id[images], files):
                raise InputError(
                    f"{manifest.path}, {named}: no identity has images of two groups (its column 'group'), and only such make "
                    f"pairs; ingest without that column (--no-group-column), or set {self.section}.ignore_groups=true"
                ) from error
            raise InputError(f"{manifest.path}, {named}: {error}") from error
        gallery, probe = images[pairs.gallery], images[pairs.probe]
        mated = identity_id[gallery]
        if self.limit is not None and self.limit < len(gallery):
            drawn = generator(self.seed, f"{self.stage} identities").choice(
                len(gallery), self.limit, replace=False
            )
            gallery = gallery[np.sort(drawn)]
            probe = probe[np.isin(identity_id[probe], identity_id[gallery])]
        distractor = self._distractors(manifest, images[pairs.distractor], mated)
        return Chosen(gallery, probe, distractor, len(pairs.distractor))

    def _images(self, manifest: Manifest) -> np.ndarray:
        images = np.flatnonzero(manifest.in_splits(self.splits))
        return images[~np.isin(manifest.identity_id[images], self._left_out(manifest))]

    def _left_out(self, manifest: Manifest) -> np.ndarray:
        """Identities with an image in `without`: a manifest may have one in two held-out splits."""
        return np.unique(manifest.identity_id[manifest.in_splits(self.without)])

    def _distractors(self, manifest: Manifest, unpaired: np.ndarray, mated: np.ndarray) -> np.ndarray:
        """Images of identities without a pair, then one of each distractor identity, in random order."""
        others = manifest.identities_in(self.distractor_splits)
        random = generator(self.seed, "eval distractors")
        drawn = others.image_id[
            others.offset[:-1] + (random.random(len(others)) * others.count).astype(np.int64)
        ]
        identities = manifest.identity_id[drawn]
        excluded = np.concatenate((mated, self._left_out(manifest)))  # no identity distracts from itself
        drawn = drawn[~np.isin(identities, excluded)]
        return np.concatenate((unpaired, random.permutation(drawn)))[: self.settings.distractors]


def query_and_gallery(manifest: Manifest, images: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Which of these images are queries and which gallery, bool; None unless there are both by the manifest's flags."""
    if not has_flags(manifest):
        return None
    taken = manifest.table.select(FLAGS).take(pa.array(images))
    query, gallery = (taken[name].fill_null(False).to_numpy() for name in FLAGS)
    return (query, gallery) if query.any() and gallery.any() else None


def refuse_one_sided(manifest: Manifest, images: np.ndarray) -> None:
    """Refuse images of which some are marked as queries and none as gallery, or the other way.

    Raises:
        InputError: so it is: what the others are for cannot be known.
    """
    marked = {
        name: name in manifest.columns and manifest.table[name].fill_null(False).to_numpy()[images].any()
        for name in FLAGS
    }
    for name, other in (FLAGS, FLAGS[::-1]):
        if marked[name] and not marked[other]:
            raise InputError(
                f"{manifest.path}: column {name} marks images, {other} none; mark both, leave the column out, or, with "
                "--protocol retrieval, name splits with --query and --gallery"
            )


def has_flags(manifest: Manifest) -> bool:
    """Whether the manifest has columns that say what an image is for; by its header alone."""
    return set(FLAGS) <= set(manifest.columns)


def _two_files_of_any(identity_id: np.ndarray, files: np.ndarray) -> bool:
    _, of_each = np.unique(identity_id[first_of_each(identity_id, files)], return_counts=True)
    return bool((of_each > 1).any())

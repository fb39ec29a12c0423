"""Who is looked for and who is looked through: as the user says, as the images say, or drawn from the test identities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...mining.errors import InputError
from ...mining.evaluation.mated_probes import MatedProbes
from ...mining.local_paths import in_shell
from ...mining.manifest import Manifest
from ..configuration.overrides import as_text
from ..console import counted
from ..stages.held_out import FLAGS, HeldOut, has_flags, refuse_one_sided
from .evaluated_images import EvaluatedImages
from .request import ProtocolRequest


class Sides(NamedTuple):
    """Image ids, int64, and how they were chosen."""

    query: np.ndarray
    gallery: np.ndarray
    """All that a query is compared with; it may be among them itself, and is not compared with itself."""
    words: str


def given_sides(images: EvaluatedImages, request: ProtocolRequest) -> Sides | None:
    """The sides that `--query` and `--gallery` name, or else the columns is_query and is_gallery; None without either.

    Raises:
        InputError: a split that is not there, or one side without images.
    """
    manifest = images.manifest
    if request.query:
        named = (("query", request.query), ("gallery", request.gallery))
        query, gallery = (_of_splits(manifest, option, splits) for option, splits in named)
        return Sides(query, gallery, f"query {','.join(request.query)}, gallery {','.join(request.gallery)}")
    refuse_one_sided(manifest, np.flatnonzero(manifest.in_splits(test_splits(images))))
    if not has_flags(manifest):
        return None
    query, gallery = (_flagged(images, name) for name in FLAGS)
    if len(query) == 0:
        return None
    return Sides(query, gallery, "query and gallery by the columns is_query and is_gallery")


def test_images(images: EvaluatedImages) -> np.ndarray:
    """All kept images of the test identities; of one split that is there alone, whatever its name.

    Raises:
        InputError: several splits, and none of them is of `data.test_splits`.
    """
    manifest = images.manifest
    found = np.flatnonzero(manifest.in_splits(test_splits(images)))
    if len(found) == 0:
        raise InputError(f"{manifest.path} has no images in {','.join(test_splits(images))}")
    return found


def test_splits(images: EvaluatedImages) -> tuple[str, ...]:
    """`data.test_splits`, or the only split that there is.

    Raises:
        InputError: several splits, and none of them is of `data.test_splits`.
    """
    wanted, there = images.config.data.test_splits, images.manifest.splits
    if set(wanted) & set(there):
        return wanted
    if len(there) == 1:
        return (there[0],)
    raise InputError(
        f"{images.manifest.path} has the splits {', '.join(there)} and none of data.test_splits={','.join(wanted)}; say "
        f"which to evaluate, such as {in_shell(f'data.test_splits=[{as_text(there[0])}]')} data.distractor_splits=[]"
    )


def held_out_by(images: EvaluatedImages) -> HeldOut:
    """The choice of gallery, probes and distractors that `subspace eval` makes without a protocol."""
    config = images.config
    splits = test_splits(images)
    if splits != config.data.test_splits:
        apart = tuple(split for split in config.data.distractor_splits if split not in splits)
        data = config.data.model_copy(update={"test_splits": splits, "distractor_splits": apart})
        config = config.model_copy(update={"data": data})
    return HeldOut.test(config)


def groups_of(images: EvaluatedImages) -> np.ndarray | None:
    """int32[n], the group of each image that keeps it from pairs with its like; None where that is not so."""
    return None if images.config.eval.ignore_groups else images.manifest.groups()


def rule_of_groups(images: EvaluatedImages) -> str:
    """What the column group does, in words."""
    if groups_of(images) is None:
        return ""
    return "; images of one identity and one group are not compared (column group)"


def _of_splits(manifest: Manifest, option: str, splits: tuple[str, ...]) -> np.ndarray:
    there = manifest.splits
    files = [split for split in splits if split not in there and split.endswith((".parquet", ".npy", ".csv"))]
    if files:
        raise InputError(
            f"--{option} {files[0]}: give the name of a split; files are evaluated when they are one, with a column split "
            "(docs/evaluation.md, Retrieval)"
        )
    if unknown := [split for split in splits if split not in there]:
        raise InputError(f"--{option} {unknown[0]}: {manifest.path} has the splits {', '.join(there)}")
    found = np.flatnonzero(manifest.in_splits(splits))
    if len(found) == 0:
        raise InputError(f"--{option} {','.join(splits)}: {manifest.path} keeps no image of it")
    return found


def _flagged(images: EvaluatedImages, name: str) -> np.ndarray:
    manifest = images.manifest
    flag = manifest.table[name].fill_null(False).to_numpy(zero_copy_only=False)
    return np.flatnonzero(flag & manifest.keep & manifest.in_splits(test_splits(images)))


def in_words(query: np.ndarray, gallery: np.ndarray) -> str:
    """How many of each."""
    return f"{counted(len(query), 'query', 'queries')} x {counted(len(gallery), 'gallery image')}"


class MatedSides(NamedTuple):
    """Gallery, probes and distractors, in which every probe has one mate in the gallery."""

    gallery: np.ndarray
    probe: np.ndarray
    distractor: np.ndarray
    unpaired: int
    manifest: Manifest
    counts: dict[str, int]
    """What is to be said of images that are left out; filled when they are embedded."""

    @classmethod
    def of(cls, images: EvaluatedImages, held: HeldOut, *, distractors: bool) -> MatedSides:
        """Drawn as `subspace eval` draws them."""
        chosen = held.choose(images.manifest)
        others = chosen.distractor if distractors else chosen.distractor[:0]
        return cls(chosen.gallery, chosen.probe, others, chosen.unpaired, images.manifest, {})

    @property
    def asked(self) -> np.ndarray:
        """All of them, gallery first."""
        return np.concatenate((self.gallery, self.probe, self.distractor))

    def embedded(self, images: EvaluatedImages) -> MatedProbes:
        """Their embeddings; a probe without a readable mate is left out."""
        rows, readable = images.embeddings(self.asked)
        ends = np.cumsum([len(self.gallery), len(self.probe)])
        self.counts["unpaired_identities"] = self.unpaired
        self.counts["unreadable_images"] = int((~readable).sum())
        gallery, probe, others = np.split(rows, ends)
        gallery_id, probe_id = (self.manifest.identity_id[side] for side in (self.gallery, self.probe))
        if not readable.all():
            seen, wanted, kept = np.split(readable, ends)
            gallery, gallery_id, others = gallery[seen], gallery_id[seen], others[kept]
            wanted = wanted & np.isin(probe_id, gallery_id)
            probe, probe_id = probe[wanted], probe_id[wanted]
        return MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=others)

    def in_words(self) -> str:
        """How many of each."""
        beside = f" and {counted(len(self.distractor), 'distractor')}" if len(self.distractor) else ""
        return f"{counted(len(self.probe), 'probe')} x {counted(len(self.gallery), 'gallery image')}{beside}"

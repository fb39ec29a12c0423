"""The sets of the comparison, cut out of the glyph set `wide`: which identities are trained on, and which are tested on.

A name says which: `100k` (all 78,254 training identities with at least four images, natural noise and all), `20k`
(20,000 of them), `40k`, and with one change: `20k-images2` (two images of each identity), `20k-noise20` (20 % of the
training images carry the name of another identity), `100k-unduplicated` (of identities that are known to be one picture
under two names, one is left), `100k-clean` (only letters that are no variant of another character), `20k-noise20-cleaned`
(20 % wrong names, without what `subspace clean` drops of them).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from subspace.mining.fingerprints import fingerprint_of
from subspace.mining.manifest import IdentityImages, Manifest
from subspace.mining.parquet_tables import fingerprint_in, write_parquet
from subspace.mining.randomness import generator
from subspace.mining.schemas import MANIFEST

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "data_manifests" / "glyphs"))
from glyph_splits import is_clean  # noqa: E402

WIDE = REPOSITORY / "data" / "glyphs" / "wide"
LEAST_IMAGES = 4
"""Of a training identity; those with fewer are distractors."""
DISTRACTORS = 100_000
SEED = 2026
_NAME = re.compile(
    r"(?P<identities>\d+)k(-images(?P<images>\d+))?(-noise(?P<noise>\d+))?(-(?P<only>cleaned|clean|unduplicated))?"
)


@dataclass(frozen=True)
class GlyphSet:
    """Which identities and images are trained on."""

    name: str
    identities: int
    """At most so many, drawn at random; a draw of fewer is part of a draw of more."""
    images: int | None
    """At most so many of each identity; None: all."""
    noise: float
    """Share of the training images that carry the name of another identity."""
    only: str | None
    """Which of the identities are left, as the ideal cleaning would leave them; "cleaned": the images that `subspace clean`
    keeps, with the same manifest; None: all."""

    start: ClassVar[str] = "start"
    """The folder of its starting networks begins so."""
    preprocess: ClassVar[tuple[str, ...]] = ()
    """Settings of the images that the network is begun with."""

    @classmethod
    def named(cls, name: str) -> GlyphSet:
        """The set of that name; exits with one line where there is none."""
        match = _NAME.fullmatch(name)
        if match is None:
            sys.exit(f"{name!r} names no set; say 100k, 20k, 20k-images2 or 20k-noise20")
        images, noise, only = match["images"], match["noise"], match["only"]
        return cls(
            name,
            1000 * int(match["identities"]),
            None if images is None else int(images),
            0.0 if noise is None else int(noise) / 100,
            only,
        )

    @property
    def manifest(self) -> Path:
        """Beside the images."""
        return WIDE / f"quality-{self.name.removesuffix('-cleaned')}.parquet"

    @property
    def uncleaned(self) -> GlyphSet:
        """The set that it was cleaned from, or itself; as many images are shown of both."""
        return GlyphSet.named(self.name.removesuffix(f"-{self.only}"))

    @property
    def begun_on(self) -> GlyphSet:
        """The set that its starting network was trained on."""
        return GlyphSet.named("100k")

    @property
    def training_identities(self) -> int:
        """How many there are; the manifest must be written."""
        return len(Manifest.open(self.manifest).identities_in(("train", "pretrain")))

    @property
    def subspace(self) -> int:
        """Identities in a subspace."""
        return 10_000 if self.identities > 50_000 else 2_000

    def write(self) -> Path:
        """Write the manifest unless it is there; return its path."""
        if self.only == "cleaned":
            return self.uncleaned.write()
        wide = wide_manifest()
        changes = {name: value for name, value in vars(self).items() if name != "only" or value}
        fingerprint = fingerprint_of(
            {"glyph set": changes, "of": wide.fingerprint, "seed": SEED, "identity_id": "from 0"}
        )
        if not self.manifest.exists() or fingerprint_in(self.manifest, MANIFEST) != fingerprint:
            write_parquet(self.manifest, MANIFEST, self._table(wide), fingerprint)
        return self.manifest

    def _table(self, wide: Manifest) -> pa.Table:
        rows = self._rows(wide)
        table = wide.table.take(pa.array(rows))
        identity_id = table["identity_id"].to_numpy().copy()
        if self.noise:
            random = generator(SEED, "quality noise")
            wrong = random.random(len(rows)) < self.noise
            identity_id[wrong] = random.choice(np.unique(identity_id), wrong.sum())
        order = np.argsort(identity_id, kind="stable")
        found, place = np.unique(identity_id[order], return_inverse=True)
        table = table.take(pa.array(order))
        for column, values in (
            ("identity", wide.names_of(found).take(pa.array(place))),
            ("identity_id", pa.array(place, pa.int32())),  # counts up from 0 in every manifest
        ):
            table = table.set_column(table.column_names.index(column), column, values)
        return table

    def _rows(self, wide: Manifest) -> np.ndarray:
        """Rows of the wide manifest, int64 and rising."""
        found = training_identities(wide)
        chosen = np.sort(generator(SEED, "quality identities").permutation(len(found))[: self.identities])
        chosen = chosen[self._is_left(wide, found.identity_id[chosen])]
        random = generator(SEED, "quality images")
        rows = []
        for place in chosen:
            images = found.image_id[found.offset[place] : found.offset[place + 1]]
            if self.images is not None:
                images = np.sort(random.permutation(images)[: self.images])
            rows.append(images)
        return np.concatenate(rows)

    def _is_left(self, wide: Manifest, identity_id: np.ndarray) -> np.ndarray:
        if self.only == "clean":
            return np.array([is_clean(int(name[2:], 16)) for name in wide.names_of(identity_id).to_pylist()])
        if self.only == "unduplicated":
            table = pq.read_table(WIDE / "duplicates.parquet")
            both = np.isin(table["identity_id_a"].to_numpy(), identity_id)
            return ~np.isin(identity_id, table["identity_id_b"].to_numpy()[both])
        return np.ones(len(identity_id), bool)


def wide_manifest() -> Manifest:
    """The whole glyph set; exits with one line where it is not built."""
    path = WIDE / "manifest.parquet"
    if not path.exists():
        sys.exit(f"{path} is not there; run `make glyphs` first")
    return Manifest.open(path)


def training_identities(wide: Manifest) -> IdentityImages:
    """The identities with enough images that are not held out."""
    found = wide.identities_in(("train", "pretrain"))
    return found.where(found.count >= LEAST_IMAGES)

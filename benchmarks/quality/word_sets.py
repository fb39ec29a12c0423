"""The word sets as data of the comparison: `words-100k`, `words-1m`, `words-10m`, see data_manifests/words.

All are begun on and examined by the set `words-100k`: its `pretrain` and its held-out words are those of every size, to
the byte.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from glyph_sets import REPOSITORY

from subspace.mining.manifest import Manifest

PREFIX = "words-"
SMALLEST = "words-100k"
_NAME = re.compile(rf"{PREFIX}(100k|1m|10m)")


@dataclass(frozen=True)
class WordSet:
    """Words that are trained on; what a `GlyphSet` says of itself, it says too."""

    name: str
    only: ClassVar[None] = None
    """There is no cleaned one."""
    start: ClassVar[str] = "start-words"
    preprocess: ClassVar[tuple[str, ...]] = ("preprocess.size=[24,96]",)
    subspace: ClassVar[int] = 10_000
    """Identities in a subspace."""

    @classmethod
    def named(cls, name: str) -> WordSet:
        """The set of that name; exits with one line where there is none."""
        if _NAME.fullmatch(name) is None:
            sys.exit(f"{name!r} names no set; say words-100k, words-1m or words-10m")
        return cls(name)

    @property
    def manifest(self) -> Path:
        """As it was built."""
        return REPOSITORY / "data" / "words" / self.name.removeprefix(PREFIX) / "manifest.parquet"

    @property
    def uncleaned(self) -> WordSet:
        """Itself."""
        return self

    @property
    def begun_on(self) -> WordSet:
        """The set that its starting network was trained on."""
        return WordSet.named(SMALLEST)

    @property
    def training_identities(self) -> int:
        """How many there are; the set must be built."""
        return len(Manifest.open(self.write()).identities_in(("train", "pretrain")))

    def write(self) -> Path:
        """The manifest; exits with one line where the set is not built."""
        if not self.manifest.exists():
            size = self.name.removeprefix(PREFIX)
            sys.exit(f"{self.manifest} is not there; run `make words SIZE={size}` first")
        return self.manifest

"""The parts of an extraction: which there are, where they lie, which are missing, which images are in them.

They follow from the manifest and the settings alone: no network is loaded to ask, nor torch imported.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...mining.errors import InputError
from ...mining.fingerprints import CODE_VERSION
from ...mining.manifest import IdentityImages
from ...mining.parquet_tables import (
    fingerprint_in,
    metadata_of,
    open_parquet,
    parquet_writer,
    read_parquet,
    read_row_group,
)
from ...mining.randomness import generator
from ...mining.schemas import IDENTITIES, QUARANTINE, TableKind
from ..records.begun_parts import BegunParts
from ..stage_folder import StageFolder

if TYPE_CHECKING:
    from ...train.data.image_input import ImageInput
    from ...train.data.images import BadImage, ImageStore
    from ..configuration.config import ExtractConfig
    from .stage import Stage

SECONDS = "seconds"
"""In the metadata of a part: how long it took to make."""
MEANS_PARTS = "means-*-of-*.parquet"
"""The names of the files which say that a part of an extraction is finished."""


@dataclass(frozen=True)
class Shard:
    """The parts i, i + n, i + 2n, ... of an extraction."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                f"--shard {self.index} is not in 0..{self.count - 1} (--num-shards {self.count})"
            )

    @classmethod
    def asked(cls, index: int | None, count: int) -> Shard | None:
        """What `--shard` and `--num-shards` ask for; None, all parts and what comes behind them, without either.

        Raises:
            InputError: a number of shards, and not which of them.
        """
        if index is None and count > 1:
            raise InputError(f"--num-shards {count}: say which of them, --shard 0 to {count - 1}")
        return None if index is None else cls(index, count)


class Parts(ABC):
    """The parts of an embedding, in files of their own: each appears whole, and says what it was made from."""

    folder: Path

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def is_finished(self, part: int) -> bool:
        """Whether a part is there, made from these very settings and inputs."""

    @abstractmethod
    def images(self, parts: Iterable[int]) -> int:
        """How many images of some parts are embedded."""

    @abstractmethod
    def path(self, part: int, what: str = "") -> Path:
        """Where a file of a part lies; without a name that which says that it is finished."""

    def of(self, shard: Shard) -> list[int]:
        """The numbers of the parts that a shard makes."""
        return list(range(shard.index, len(self), shard.count))

    def missing(self, shard: Shard | None = None) -> list[int]:
        """The numbers of those, of all or of a shard, that are not finished."""
        return [part for part in self.of(shard or Shard()) if not self.is_finished(part)]

    def unreadable(self, part: int) -> list[BadImage]:
        """The images that a finished part could not read.

        Raises:
            InputError: its list is damaged.
        """
        from ...train.data.images import BadImage

        rows = read_parquet(self.path(part, "quarantine"), QUARANTINE, ["image_id", "reason"]).to_pylist()
        return [BadImage(row["image_id"], row["reason"]) for row in rows]

    def forget(self, part: int) -> None:
        """Make a part one that is not finished."""
        self.path(part).unlink(missing_ok=True)

    def forget_what_is_back(self, parts: Iterable[int], store: ImageStore, input: ImageInput) -> int:
        """Forget finished parts that lack images which can be read by now; return how many they are."""
        from ...train.data.images import BadImage

        def is_back(part: int) -> bool:
            lacking = (bad.image_id for bad in self.unreadable(part))
            return any(not isinstance(store.decode(image, input), BadImage) for image in lacking)

        back = [part for part in parts if self.is_finished(part) and is_back(part)]
        for part in back:
            self.forget(part)
        return len(back)


class ExtractParts(Parts):
    """Runs of `extract.identities_per_part` consecutive identities; each is made whole, in `identities.parts/`.

    Args:
        folder: of the stage.
        identities: the training identities, with their images.
        fingerprint: of the stage; a part that carries another one is not finished.
    """

    def __init__(
        self, folder: StageFolder, identities: IdentityImages, config: ExtractConfig, fingerprint: str
    ) -> None:
        self.folder, self.identities, self.config = folder.identity_parts, identities, config
        self.fingerprint = fingerprint
        self._starts = range(0, len(identities), config.identities_per_part)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, part: int) -> IdentityImages:
        """The identities of a part, with all of their images."""
        start = self._starts[part]
        return self.identities.rows(slice(start, start + self.config.identities_per_part))

    def is_finished(self, part: int) -> bool:
        """Whether a part is there, made from these very settings and inputs.

        Raises:
            InputError: its file is damaged.
        """
        path = self.path(part)
        return path.exists() and fingerprint_in(path, IDENTITIES) == self.fingerprint

    def images(self, parts: Iterable[int]) -> int:
        """How many images of some parts are embedded."""
        limit = self.config.max_images
        counts = (self[part].count for part in parts)
        return sum(int(count.sum() if limit is None else np.minimum(count, limit).sum()) for count in counts)

    def path(self, part: int, what: str = "") -> Path:
        """Where the means of a part lie, which say that it is finished; or its quarantine, or its embeddings."""
        return self.folder / f"{what or 'means'}-{part:05d}-of-{len(self):05d}.parquet"

    def seconds(self, parts: Iterable[int]) -> float:
        """How long it took to make some finished parts, one after another."""
        return sum(seconds_of(self.path(part)) for part in parts)

    def drop_others(self, parts: Iterable[int]) -> int:
        """Remove what is there of some parts, made from something else, and all that are cut otherwise; return how many."""
        there = (part for part in parts if self.path(part).exists())
        others = [self.path(part) for part in there if not self.is_finished(part)]
        others += [
            path for path in self.folder.glob(MEANS_PARTS) if parts_in_all(path) != parts_in_all(self.path(0))
        ]
        for path in others:
            path.unlink(missing_ok=True)
        return len(others)

    def merge(self, what: str, kind: TableKind, merged: Path) -> int:
        """Write what all parts have into one table, a row group at a time; return its number of rows."""
        paths = [self.path(part, what) for part in range(len(self))]
        parts = [open_parquet(path, kind) for path in paths]
        with parquet_writer(merged, kind, parts[0].schema_arrow, self.fingerprint) as writer:
            for path, part in zip(paths, parts, strict=True):
                for group in range(part.num_row_groups):
                    writer.write_table(read_row_group(path, kind, group))
        return sum(part.metadata.num_rows for part in parts)


def begun_by(stage: Stage) -> BegunParts:
    """The note of what the parts of an extraction depend on, with what they depend on now."""
    again = f"`{stage.command} --no-resume`; for shards of your own first remove that folder"
    return BegunParts(stage.folder.identity_parts, {**stage.fields, "code": CODE_VERSION}, again)


def seconds_of(part: Path) -> float:
    """How long it took to make a part of an extraction, by its file; 0 where that says nothing of the kind.

    Raises:
        InputError: the file is damaged.
    """
    noted = metadata_of(open_parquet(part, IDENTITIES)).get(SECONDS, "0")
    try:
        took = float(noted)
    except ValueError:
        return 0.0
    return took if math.isfinite(took) and took > 0 else 0.0


def parts_in_all(part: Path) -> str:
    """How many parts an extraction has, by the name of one.

    >>> parts_in_all(Path("means-00003-of-00012.parquet"))
    '00012'
    """
    return part.stem.rpartition("-")[2]


class BatchesOfParts(ABC):
    """The batches of some parts in one row, so that one set of loader processes makes them all: image ids by number.

    No batch holds images of two parts.

    Args:
        todo: the numbers of the parts, in the order in which they are made.
    """

    def __init__(self, parts: Parts, todo: Sequence[int], batch_size: int) -> None:
        self._todo, self._size = list(todo), batch_size
        batches = [-(-parts.images([part]) // batch_size) for part in todo]
        self._first = np.concatenate(([0], np.cumsum(batches, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self._first[-1])

    def of(self, part: int) -> int:
        """How many batches a part has."""
        place = self._todo.index(part)
        return int(self._first[place + 1] - self._first[place])

    def __call__(self, number: int) -> np.ndarray:
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        start = (number - int(self._first[place])) * self._size
        return self._images(self._todo[place])[start : start + self._size]

    @abstractmethod
    def _images(self, part: int) -> np.ndarray:
        """The images of a part, int64[n]."""


class PartBatches(BatchesOfParts):
    """The batches of an extraction. Images of an identity are drawn as the first batch of its part is asked for."""

    def __init__(self, parts: ExtractParts, todo: Sequence[int], config: ExtractConfig, seed: int) -> None:
        super().__init__(parts, todo, config.batch_size)
        self._parts, self._config, self._seed = parts, config, seed
        self._drawn = (-1, np.empty(0, np.int64))

    def _images(self, part: int) -> np.ndarray:
        if self._drawn[0] != part:
            images, most = self._parts[part], self._config.max_images
            if most is not None:
                images = images.at_most(most, generator(self._seed, "extract images", part))
            self._drawn = (part, images.image_id)
        return self._drawn[1]

"""The parts of an extraction: which there are, where they lie, which are missing, which images are in them.

They follow from the manifest and the settings alone: no network is loaded to ask, nor torch imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...mining.errors import InputError
from ...mining.manifest import IdentityImages
from ...mining.parquet_tables import (
    fingerprint_in,
    open_parquet,
    parquet_writer,
    read_parquet,
    read_row_group,
)
from ...mining.randomness import generator
from ...mining.schemas import IDENTITIES, QUARANTINE, TableKind
from ..stage_folder import StageFolder

if TYPE_CHECKING:
    from ...train.data.images import BadImage
    from ..configuration.config import ExtractConfig


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


class ExtractParts:
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

    def of(self, shard: Shard) -> list[int]:
        """The numbers of the parts that a shard makes."""
        return list(range(shard.index, len(self), shard.count))

    def missing(self, shard: Shard | None = None) -> list[int]:
        """The numbers of those, of all or of a shard, that are not finished."""
        return [part for part in self.of(shard or Shard()) if not self.is_finished(part)]

    def is_finished(self, part: int) -> bool:
        """Whether a part is there, made from these very settings and inputs.

        Raises:
            InputError: its file is damaged.
        """
        path = self.path(part)
        return path.exists() and fingerprint_in(path, IDENTITIES) == self.fingerprint

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

    def images(self, parts: Iterable[int]) -> int:
        """How many images of some parts are embedded."""
        limit = self.config.max_images
        counts = (self[part].count for part in parts)
        return sum(int(count.sum() if limit is None else np.minimum(count, limit).sum()) for count in counts)

    def path(self, part: int, what: str = "means") -> Path:
        """Where the means of a part lie, which say that it is finished; or its quarantine, or its embeddings."""
        return self.folder / f"{what}-{part:05d}-of-{len(self):05d}.parquet"

    def merge(self, what: str, kind: TableKind, merged: Path) -> int:
        """Write what all parts have into one table, a row group at a time; return its number of rows."""
        paths = [self.path(part, what) for part in range(len(self))]
        parts = [open_parquet(path, kind) for path in paths]
        with parquet_writer(merged, kind, parts[0].schema_arrow, self.fingerprint) as writer:
            for path, part in zip(paths, parts, strict=True):
                for group in range(part.num_row_groups):
                    writer.write_table(read_row_group(path, kind, group))
        return sum(part.metadata.num_rows for part in parts)


class PartBatches:
    """The batches of some parts in one row, so that one set of loader processes makes them all: image ids by number.

    No batch holds images of two parts.

    Which images of an identity make its mean is drawn part by part, when the first batch of a part is asked for.

    Args:
        todo: the numbers of the parts, in the order in which they are made.
    """

    def __init__(self, parts: ExtractParts, todo: Sequence[int], config: ExtractConfig, seed: int) -> None:
        self._parts, self._todo, self._config, self._seed = parts, list(todo), config, seed
        batches = [-(-parts.images([part]) // config.batch_size) for part in todo]
        self._first = np.concatenate(([0], np.cumsum(batches, dtype=np.int64)))
        self._drawn = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return int(self._first[-1])

    def of(self, part: int) -> int:
        """How many batches a part has."""
        place = self._todo.index(part)
        return int(self._first[place + 1] - self._first[place])

    def __call__(self, number: int) -> np.ndarray:
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        start = (number - int(self._first[place])) * self._config.batch_size
        return self._images(self._todo[place])[start : start + self._config.batch_size]

    def _images(self, part: int) -> np.ndarray:
        if self._drawn[0] != part:
            images, most = self._parts[part], self._config.max_images
            if most is not None:
                images = images.at_most(most, generator(self._seed, "extract images", part))
            self._drawn = (part, images.image_id)
        return self._drawn[1]

"""The image manifest in memory: which images each identity has, as arrays rather than Python objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from .errors import DamagedFileError, InputError
from .parquet_tables import fingerprint_in, open_parquet, read_parquet, row_groups, rows_at
from .remote import url_of
from .schemas import BOX, MANIFEST

CHECKED = ["identity", "identity_id", "offset", "length", "split", "keep"]
"""Columns that are looked through when a manifest is opened."""


@dataclass(frozen=True)
class IdentityImages:
    """Images grouped by identity, in compressed rows: identity i owns `image_id[offset[i]:offset[i+1]]`.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import IdentityImages
        >>> images = IdentityImages(identity_id=np.array([4, 9]), offset=np.array([0, 2, 5]), image_id=np.arange(5))
        >>> len(images), images.count.tolist()
        (2, [2, 3])
        >>> images.rows(slice(1, 2)).image_id.tolist()
        [2, 3, 4]
    """

    identity_id: np.ndarray
    """int32[I], ascending."""
    offset: np.ndarray
    """int64[I+1]."""
    image_id: np.ndarray
    """int64[n], ascending."""

    @property
    def count(self) -> np.ndarray:
        """Images of each identity, int64[I]."""
        return np.diff(self.offset)

    def __len__(self) -> int:
        return len(self.identity_id)

    def rows(self, selection: slice) -> IdentityImages:
        """The identities of a contiguous slice, with their images."""
        start, stop, _ = selection.indices(len(self))
        first, last = self.offset[start], self.offset[stop]
        return IdentityImages(
            self.identity_id[start:stop], self.offset[start : stop + 1] - first, self.image_id[first:last]
        )

    def where(self, mask: np.ndarray) -> IdentityImages:
        """The identities where `mask` (bool[I]) holds, with their images."""
        count = self.count
        return IdentityImages(
            self.identity_id[mask],
            np.append(0, np.cumsum(count[mask])).astype(np.int64),
            self.image_id[np.repeat(mask, count)],
        )

    def at_most(self, images: int, random: np.random.Generator) -> IdentityImages:
        """The same identities, each with at most so many of its images, drawn by `random`."""
        count = self.count
        owner = np.repeat(np.arange(len(self)), count)
        shuffled = np.lexsort((random.random(len(owner)), owner))
        place = np.arange(len(owner)) - np.repeat(self.offset[:-1], count)
        kept = np.sort(shuffled[place < images])
        offset = np.append(0, np.cumsum(np.minimum(count, images))).astype(np.int64)
        return IdentityImages(self.identity_id, offset, self.image_id[kept])


def group_by_identity(identity_id: np.ndarray, usable: np.ndarray) -> IdentityImages:
    """Group the rows where `usable` (bool[n]) by `identity_id` (int32[n], ascending)."""
    image_id = np.flatnonzero(usable).astype(np.int64)
    owner = identity_id[image_id]
    starts = (
        np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1]))) if len(owner) else np.empty(0, int)
    )
    return IdentityImages(owner[starts], np.append(starts, len(owner)).astype(np.int64), image_id)


class Manifest:
    """An image manifest: one row per image, sorted by identity; the row number is `image_id`.

    Memory: nothing until a column is asked for; then all of them, about 50 bytes an image where names are short,
    plus the images themselves where they are inline.

    Args:
        table: the rows, where they are in memory already; else they are read from `path` on first use.

    Example:
        >>> from pathlib import Path
        >>> import pyarrow as pa
        >>> from subspace.mining import Manifest
        >>> rows = {"identity_id": [0, 0, 1], "identity": ["ann", "ann", "bob"], "keep": [True, True, True]}
        >>> table = pa.table({**rows, "split": ["train", "train", "val"]})  # mostly `Manifest.open("photos.parquet")`
        >>> manifest = Manifest(Path("photos.parquet"), table, fingerprint="0")
        >>> len(manifest), manifest.splits
        (3, ['train', 'val'])
        >>> manifest.identities_in(["train"]).image_id.tolist()
        [0, 1]
    """

    def __init__(self, path: Path, table: pa.Table | None, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self._given = table
        self.identities: int | None = None
        """How many identities it has, where it was opened from a file."""

    @classmethod
    def open(cls, path: Path | str) -> Manifest:
        """Check a manifest written by `subspace ingest`; its columns are read when they are needed.

        It may be a URL; then every pass over its columns is read from there.

        Raises:
            InputError: missing, truncated, wrong columns, rows not sorted by identity, or a URL that is not read.
            StaleArtifactError: no fingerprint, or a later schema version.
        """
        path = Path(path)
        manifest = cls(path, None, fingerprint_in(path, MANIFEST))
        if len(manifest) == 0:
            raise InputError(f"{path} holds no images")
        try:
            for rows in row_groups(path, MANIFEST, CHECKED):
                if len(rows):
                    manifest.identities = rows["identity_id"][-1].as_py() + 1
        except DamagedFileError as error:
            raise DamagedFileError(f"{error}; write it with `subspace ingest`", str(path)) from error
        return manifest

    @property
    def address(self) -> str:
        """Its absolute path, or its URL."""
        return url_of(self.path) or str(self.path.resolve())

    @property
    def folder(self) -> str:
        """Where its relative uris start: the folder that it lies in, or that folder's URL."""
        return self.address.rpartition("/")[0] or "/"

    @cached_property
    def table(self) -> pa.Table:
        """All rows, in memory.

        Raises:
            InputError: a column is damaged.
        """
        return read_parquet(self.path, MANIFEST) if self._given is None else self._given

    @cached_property
    def columns(self) -> list[str]:
        """The names of its columns."""
        if self._given is not None:
            return self._given.column_names
        return open_parquet(self.path, MANIFEST).schema_arrow.names

    def __len__(self) -> int:
        if self._given is not None:
            return self._given.num_rows
        return open_parquet(self.path, MANIFEST).metadata.num_rows

    @cached_property
    def identity_id(self) -> np.ndarray:
        """int32[n] per image."""
        return self._column("identity_id").to_numpy()

    @cached_property
    def keep(self) -> np.ndarray:
        """bool[n] per image: not dropped by cleaning."""
        return self._column("keep").to_numpy(zero_copy_only=False)

    @property
    def splits(self) -> list[str]:
        """The names in the split column, sorted."""
        return sorted(self._splits[0])

    @cached_property
    def _splits(self) -> tuple[list[str], np.ndarray]:
        """Names of splits, and the number of each image's own."""
        return _encoded(self._column("split"))

    def in_splits(self, splits: Sequence[str]) -> np.ndarray:
        """bool[n]: images whose split is one of `splits` and that are kept."""
        names, code = self._splits
        return np.append(np.isin(names, list(splits)), False)[code] & self.keep

    def identities_in(self, splits: Sequence[str], without: np.ndarray | None = None) -> IdentityImages:
        """Identities of `splits` with their kept images, except the image ids in `without`."""
        usable = self.in_splits(splits)
        if without is not None and len(without):
            usable[without] = False
        return group_by_identity(self.identity_id, usable)

    def names_of(self, identity_id: np.ndarray) -> pa.Array:
        """The `identity` strings of ascending `identity_id`, as an Arrow array."""
        first_row = np.searchsorted(self.identity_id, identity_id)
        return self.rows_of(first_row, ["identity"])["identity"].combine_chunks().cast(pa.string())

    def groups(self) -> np.ndarray | None:
        """int32[n] per image: the code of its group (camera, type family); None without the column."""
        return _encoded(self._column("group"))[1] if "group" in self.columns else None

    def files_of(self, image_id: np.ndarray) -> np.ndarray:
        """Numbers of the pictures that these images are: int64[n], equal where file, range and box are the same.

        Inline images are the same where their bytes and boxes are.
        """
        box = [name for name in BOX if name in self.columns]
        rows = self.rows_of(image_id, ["uri", "offset", "length", *box])
        uri = rows["uri"].cast(pa.string()).combine_chunks().dictionary_encode().indices.fill_null(-1)
        number = uri.to_numpy()
        for name in ("offset", "length"):
            number = _numbered(number, rows[name].fill_null(-1).to_numpy())
        if "image" in self.columns:
            hashes = self._hashes(image_id)
            number = _numbered(np.where(hashes == 0, number, -1), hashes)
        for name in box:
            number = _numbered(number, rows[name].fill_null(-1).to_numpy())
        return number

    @property
    def _is_read(self) -> bool:
        return self._given is not None or "table" in self.__dict__

    def _column(self, name: str) -> pa.ChunkedArray:
        """A column, read alone unless all are in memory: of 20 million images all are 2 GB."""
        return self.table[name] if self._is_read else read_parquet(self.path, MANIFEST, [name])[name]

    def rows_of(self, image_id: np.ndarray, columns: list[str]) -> pa.Table:
        """Columns of some images, in their order; only the row groups that hold them are read."""
        if self._is_read:
            return self.table.select(columns).take(pa.array(image_id))
        return rows_at(open_parquet(self.path, MANIFEST), self.path, MANIFEST, image_id, columns)

    def _hashes(self, image_id: np.ndarray) -> np.ndarray:
        """A hash of each inline image, int64[n], 0 where there is none; chunk by chunk, as all together may be more than Arrow can take."""
        hashes, start = np.empty(len(image_id), np.int64), 0
        for chunk in self.table["image"].chunks:
            here = np.flatnonzero((image_id >= start) & (image_id < start + len(chunk)))
            for first in range(0, len(here), 1000):
                some = here[first : first + 1000]
                hashes[some] = [
                    hash(data or b"") for data in chunk.take(pa.array(image_id[some] - start)).to_pylist()
                ]
            start += len(chunk)
        return hashes


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The values in the order in which they first come, and the number of each row's own, int32[n]; -1 where it has none."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    values, code = whole.dictionary.to_pylist(), whole.indices.fill_null(-1).to_numpy()
    first = np.full(len(values) + 1, len(code))
    first[code[::-1]] = np.arange(len(code))[::-1]  # the last one that is set stays: the first row
    order = np.argsort(first[:-1], kind="stable")[: np.count_nonzero(first[:-1] < len(code))]
    number = np.full(len(values) + 1, -1, np.int32)
    number[order] = np.arange(len(order))
    return [str(values[place]) for place in order.tolist()], number[code]


def _numbered(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Numbers of the pairs (a, b), equal where both are."""
    values, b = np.unique(b, return_inverse=True)
    return np.unique(a, return_inverse=True)[1] * len(values) + b

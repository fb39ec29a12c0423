"""Images whose embeddings are in a file: no network is needed, and no image is opened."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ..configuration.config import RunConfig
from ..console import counted
from ..options import Options
from ..sources.places import placed_from
from .evaluated_images import Embedded, EvaluatedImages

USED = ("identity", "group", "is_query", "is_gallery", "split")
"""Columns that say whom an image shows and what it is for."""
READ_ROWS = 8192
"""At a time."""
READING_BYTES = 100_000_000
"""What a row group takes, and a few blocks."""
ONLY_SPLIT = "test"
"""The split of all images of a file that says nothing of splits."""


class TableImages(EvaluatedImages):
    """Images with embeddings in a file, and whom they show where it has that column.

    Memory: about 60 bytes an image, with names of 10 letters; embeddings only of those that are asked for.
    """

    opens = False

    def __init__(self, table: EmbeddingTable, config: RunConfig, options: Options) -> None:
        self.table, self.config, self.options = table, config, options
        self.path, self.dimensions = table.path, table.dimensions
        used = [name for name in USED if name in table.columns]
        lengths = "" if table.normalized else "; its vectors are brought to unit length"
        options.console.say(
            f"{table.path}: {counted(table.rows, 'embedding')} of {table.dimensions} numbers, "
            f"columns used: {', '.join(used) or 'none'}{lengths}"
        )

    @cached_property
    def manifest(self) -> Manifest:
        """The rows with an identity, sorted by it."""
        number = self._identity_numbers()
        known = np.flatnonzero(number >= 0)
        if len(known) == 0:
            raise InputError(
                f"{self.path} says of no row whom it shows (column identity, string); embed a source with labels, or add "
                "that column"
            )
        if len(known) < len(number):
            left = counted(len(number) - len(known), "row")
            self.options.console.say(f"{left} without an identity left out")
        self._row = known[np.argsort(number[known], kind="stable")]
        rows = pa.array(self._row)
        identity_id = number[self._row]
        split = self._names("split", rows)
        one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), pa.array([ONLY_SPLIT]))
        nameless = pc.binary_join_element_wise("row", rows.cast(pa.string()), " ")  # each another image
        columns = {
            "identity": self._names("identity", rows),
            "identity_id": pa.array(identity_id),
            "uri": pc.coalesce(self._names("image", rows), nameless).dictionary_encode(),
            "offset": pa.nulls(len(rows), pa.int64()),
            "length": pa.nulls(len(rows), pa.int64()),
            "split": one if split.null_count == len(rows) else split.dictionary_encode(),
            "keep": pa.array(np.ones(len(rows), bool)),
        }
        if "group" in self.table.columns:
            columns["group"] = self._names("group", rows).dictionary_encode()
        for name in ("is_query", "is_gallery"):
            if (column := self.table.column(name)) is not None:
                columns[name] = column.take(rows).combine_chunks()
        return Manifest(self.path, pa.table(columns), fingerprint="")

    def _identity_numbers(self) -> np.ndarray:
        """int32[rows], by the order of the names, -1 where there is none."""
        number, names = self.table.identity_id()
        rank = pc.rank(pa.array(names, pa.string())).to_numpy().astype(np.int32) - 1
        return np.append(rank, np.int32(-1))[number]

    def _names(self, name: str, rows: pa.Array) -> pa.Array:
        """A column of some rows as text; null where it says nothing."""
        column = self.table.column(name)
        if column is None:
            return pa.nulls(len(rows), pa.string())
        text = column.take(rows).cast(pa.string()).combine_chunks()
        return pc.if_else(pc.equal(text, ""), None, text)

    def embeddings(self, image_id: np.ndarray) -> Embedded:
        """The rows of these images, by one pass over the file."""
        _ = self.manifest
        return Embedded(self._rows(self._row[image_id]), np.ones(len(image_id), bool))

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the file at unit length, float32[n, D], in this order."""
        found = np.empty((len(rows), self.dimensions), np.float32)
        place = np.argsort(rows, kind="stable")
        wanted, first = rows[place], 0
        with self.options.console.progress("read", self.table.rows, "rows") as progress:
            for block in self.table.blocks(READ_ROWS):
                low, high = np.searchsorted(wanted, (first, first + len(block)))
                taken = block[wanted[low:high] - first]
                found[place[low:high]] = taken / np.sqrt(np.einsum("nd,nd->n", taken, taken))[:, None]
                first += len(block)
                progress.update(len(block))
        return found

    def listed(self, manifest: Manifest, names: list[str]) -> Embedded:
        """Rows by the name of their image, or else by its whole path, which `subspace embed` calls it by."""
        images = self.table.column("image")
        if images is None:
            raise InputError(f"{self.path} does not say which images its rows are (column image, string)")
        images = images.cast(pa.string()).combine_chunks()
        place = pc.index_in(pa.array(names, pa.string()), images)
        if place.null_count:
            uri = manifest.table["uri"].cast(pa.large_string()).combine_chunks()
            whole = (path.cast(pa.string()) for path in (uri, placed_from(Path())(uri)))
            place = pc.coalesce(place, *(pc.index_in(paths, images) for paths in whole))
        if place.null_count:
            missing = place.is_null().to_pylist().index(True)
            way = ""
            if "image" not in manifest.columns:
                way = f", or by its path, which the list and --root make {manifest.table['uri'][missing].as_py()}"
            raise InputError(
                f"{self.path} has no embedding of {place.null_count:,} of {len(names):,} listed images, the first: "
                f"{names[missing]}; its column image must call each as the list does{way}"
            )
        return Embedded(self._rows(place.to_numpy()), np.ones(len(names), bool))

    def announce(self, images: np.ndarray | Manifest) -> tuple[str, float, int]:
        """Reading takes a moment beside comparing."""
        memory = len(images) * (self.dimensions * 4 + 20) + READING_BYTES
        seconds = self.table.rows * self.dimensions * 4 / 300e6
        return f"{counted(len(images), 'embedding')} read", seconds, memory

    @property
    def origin(self) -> dict[str, Any]:
        """The file, and the network that made it."""
        return {"embeddings": str(self.path), "network": self.table.network, "dimensions": self.dimensions}

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self.path.parent

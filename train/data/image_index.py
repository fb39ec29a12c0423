"""Where the images of a manifest lie, in a file: training needs no memory per image, however many there are.

A Parquet row cannot be read alone, so each row is copied once to a known place:

    128 bytes    what this is, and the manifest's fingerprint
    n × 32       uri_at, uri_length, offset, length as int64; -1 for none
                 (n × 64 where images have boxes: then x_1, y_1, x_2, y_2 as well)
    the rest     the URIs, each once per row group of the manifest

The file is read, not mapped: pages of a mapped file would count as the process's memory.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.artifacts import whole_file
from ...mining.manifest import Manifest
from ...mining.parquet_tables import row_groups
from ...mining.schemas import BOX, MANIFEST
from .framing import Box
from .images import ImageStore
from .jpeg import jpeg_decoder
from .settings import DecoderSetting

HEADER_BYTES = 128
MOST_URI_BYTES = 1 << 20
_PLACE, _PLACE_AND_BOX = struct.Struct("<4q"), struct.Struct("<8q")
_NONE = -1


class IndexedImages(ImageStore):
    """Reads images by `image_id` through an index file. Cheap to copy into loader workers: a path.

    Args:
        index: made by `write_image_index`.
        manifest: whose images it finds. Its columns are not read.
    """

    def __init__(self, index: Path, manifest: Manifest, decoder: DecoderSetting = "auto") -> None:
        self.index, self.images = index, len(manifest)
        self.folder = manifest.folder
        self.jpeg, self._boxes = jpeg_decoder(decoder), _boxes(manifest)
        self._file = open(index, "rb", buffering=0)  # noqa: SIM115  (lives as long as the store)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = open(self.index, "rb", buffering=0)  # noqa: SIM115

    def _row(self, image_id: int) -> tuple[bytes | None, str | None, int | None, int | None, Box | None]:
        if not 0 <= image_id < self.images:
            raise IndexError(f"image {image_id} of {self.images}")
        # Forked workers share the file, and so its position, which pread neither uses nor moves.
        packed = _row_of(self._boxes)
        size = packed.size
        row = os.pread(self._file.fileno(), size, HEADER_BYTES + size * image_id)
        if len(row) < size:
            raise OSError(f"{self.index} ends before image {image_id}")
        uri_at, uri_length, offset, length, *box = packed.unpack(row)
        if uri_at != _NONE and not (uri_at >= HEADER_BYTES and 0 <= uri_length <= MOST_URI_BYTES):
            raise OSError(f"{self.index} is damaged at image {image_id}; remove it, training makes it again")
        uri = os.pread(self._file.fileno(), uri_length, uri_at).decode() if uri_at != _NONE else None
        # The right side of a box is never negative where there is one.
        inside: Box | None = (box[0], box[1], box[2], box[3]) if box and box[2] != _NONE else None
        return None, uri, None if offset == _NONE else offset, None if length == _NONE else length, inside


def training_images(manifest: Manifest, index: Path, decoder: DecoderSetting = "auto") -> ImageStore:
    """The images of a manifest for training, through the file `index`, which is made unless it is there.

    Inline images lie in the manifest, which is for small sets, so it is held in memory.

    Raises:
        InputError: the manifest is damaged, or the index cannot be written.
    """
    if "image" in manifest.columns:
        return ImageStore(manifest, decoder)
    if not _is_of(index, manifest):
        write_image_index(index, manifest)
    return IndexedImages(index, manifest, decoder)


def write_image_index(index: Path, manifest: Manifest) -> None:
    """Write the index of a manifest without inline images, whole or not at all, with memory for a row group.

    Raises:
        InputError: the manifest is damaged, or the file cannot be written.
    """
    boxes = _boxes(manifest)
    row_at, uri_at = HEADER_BYTES, HEADER_BYTES + _row_of(boxes).size * len(manifest)
    columns = ["uri", "offset", "length", *boxes]
    with whole_file(index) as aside, open(aside, "wb") as file:
        file.write(_header(manifest))
        for table in row_groups(manifest.path, MANIFEST, columns):
            rows, uris = _packed(table, uri_at)
            for at, data in ((row_at, rows.tobytes()), (uri_at, uris)):
                file.seek(at)
                file.write(data)
            row_at, uri_at = row_at + rows.nbytes, uri_at + len(uris)


def _packed(table: pa.Table, uri_at: int) -> tuple[np.ndarray, bytes]:
    """The rows, int64[n, 4], or int64[n, 8] with boxes, and the text that their URIs are pieces of, which begins at `uri_at`."""
    uri = table["uri"].cast(pa.string()).combine_chunks().dictionary_encode()
    distinct = uri.dictionary.cast(pa.binary())
    length = pc.binary_length(distinct).to_numpy()
    start = np.cumsum(length) - length
    code = uri.indices.fill_null(_NONE).to_numpy()
    known = code != _NONE
    more = table.column_names[3:]
    rows = np.full((len(table), 4 + len(more)), _NONE, np.int64)
    rows[known, 0] = uri_at + start[code[known]]
    rows[known, 1] = length[code[known]]
    rows[:, 2] = table["offset"].fill_null(_NONE).to_numpy()
    rows[:, 3] = table["length"].fill_null(_NONE).to_numpy()
    for column, name in enumerate(more, 4):
        rows[:, column] = table[name].fill_null(_NONE).to_numpy()
    return rows, b"".join(distinct.to_pylist())


def _is_of(index: Path, manifest: Manifest) -> bool:
    try:
        with open(index, "rb") as file:
            rows = _row_of(_boxes(manifest)).size * len(manifest)
            whole = os.fstat(file.fileno()).st_size >= HEADER_BYTES + rows
            return whole and file.read(HEADER_BYTES) == _header(manifest)
    except OSError:
        return False


def _boxes(manifest: Manifest) -> tuple[str, ...]:
    """The columns of boxes, if the manifest has them."""
    return BOX if BOX[0] in manifest.columns else ()


def _row_of(boxes: tuple[str, ...]) -> struct.Struct:
    return _PLACE_AND_BOX if boxes else _PLACE


def _header(manifest: Manifest) -> bytes:
    return f"subspace image index 1\n{len(manifest)} images\n{manifest.fingerprint}\n".encode().ljust(
        HEADER_BYTES
    )

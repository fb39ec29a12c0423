"""Where the rows of an index come from: files of embeddings, or an index less some identities.

Shapes: n rows, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...mining.parquet_tables import read_parquet
from ...mining.schemas import INDEXED_IDENTITIES, INDEXED_IMAGES
from . import index_record as files
from .index_folder import IndexFolder

BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class RowSource:
    """Rows on their way into an index."""

    identity: np.ndarray
    """int64[n]."""
    names: list[str]
    """Names of the identities, by that number."""
    image: pa.Array
    """large_string[n]."""
    blocks: Callable[[], Iterator[np.ndarray]]
    """Unit vectors in order, float[b, D] at a time."""
    said: str = ""
    """What a user should know of it."""
    nameless: int = 0
    """How many of its last identities are images that stand for themselves."""


def rows_of_table(table: EmbeddingTable) -> RowSource:
    """The rows of a file of embeddings. A row without an identity stands for itself, by the name of its image.

    Raises:
        InputError: damaged, or a row without an identity whose image has the name of another identity.
    """
    identity, names = table.identity_id()
    image = table.column("image")
    if image is None:
        # With the file's name: rows of several files are not the same images.
        image = pa.chunked_array([pa.array(f"{table.path}#row={row}" for row in range(table.rows))])
    unknown, said = np.flatnonzero(identity < 0), []
    if len(unknown):
        own = image.take(unknown).to_pylist()
        if len({*own, *names}) < len(own) + len(names):
            seen = set(names)
            again = next(name for name in own if name in seen or seen.add(name))
            raise InputError(
                f"{table.path} has no identity for image {again!r}, and that name is taken; give it an identity"
            )
        identity = identity.copy()
        identity[unknown] = len(names) + np.arange(len(unknown))
        names = names + own
        said.append(f"{len(unknown):,} of {table.rows:,} images have no identity, each stands for itself")
    if not table.normalized:
        said.append("vectors are scaled to unit length")
    return RowSource(
        identity,
        names,
        _one_array(image),
        lambda: map(at_unit_length, table.blocks()),
        "; ".join(said),
        len(unknown),
    )


def refuse_again(more: RowSource, before: RowSource, path: Path, index: Path) -> None:
    """Refuse rows of the file `path` that are among the earlier ones of `index`, or would be taken for somebody there.

    Raises:
        InputError: an image is there under the same identity; or one without an identity has the name of another's.
    """
    number = {name: at for at, name in enumerate(before.names)}
    there = np.array([number.get(name, -1) for name in more.names], np.int64)
    held = np.zeros(len(before.names), bool)
    held[there[there >= 0]] = True
    row = np.flatnonzero(held[before.identity])
    pairs = set(zip(before.identity[row].tolist(), before.image.take(pa.array(row)).to_pylist(), strict=True))
    again = np.flatnonzero(there[more.identity] >= 0)
    images = more.image.take(pa.array(again)).to_pylist()
    for identity, image in zip(more.identity[again].tolist(), images, strict=True):
        if (int(there[identity]), image) in pairs:
            raise InputError(
                f"{index} has image {image!r} of {path} already; leave it out, or replace all of its identity: "
                f"--delete {in_shell(more.names[identity])} in the same command"
            )
        if identity >= len(more.names) - more.nameless:
            raise InputError(
                f"{path} has no identity for image {image!r}, and {index} has an identity of that name; give it an identity"
            )


def named_identities(folder: IndexFolder, named: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The names of all identities of an index, and which of them are among `named`: bool[I].

    Raises:
        InputError: a name that is not in it.
    """
    path = folder.path / folder.record.rows / files.IDENTITY_TABLE
    names = read_parquet(path, INDEXED_IDENTITIES, ["identity"])["identity"].to_pylist()
    number = {name: at for at, name in enumerate(names)}
    if missing := [name for name in named if name not in number]:
        raise InputError(f"{folder.path} has no identity {missing[0]!r}; nothing is deleted")
    found = np.zeros(len(names), bool)
    found[[number[name] for name in named]] = True
    return names, found


def rows_of_index(folder: IndexFolder, without: Sequence[str] = ()) -> RowSource | None:
    """The rows of an index, less the identities that are named; None where nothing is left.

    Raises:
        InputError: a name that is not in it.
    """
    rows = folder.path / folder.record.rows
    names, gone = named_identities(folder, without)
    offset, images_nD = folder.gallery.offset, folder.gallery.images.rows
    kept_n = ~np.repeat(gone, np.diff(offset))
    image = _one_array(read_parquet(rows / files.IMAGE_TABLE, INDEXED_IMAGES, ["image"])["image"])
    if not kept_n.any():
        return None

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(kept_n), BLOCK_ROWS):
            yield images_nD[start : start + BLOCK_ROWS][kept_n[start : start + BLOCK_ROWS]]

    return RowSource(
        np.repeat(np.cumsum(~gone) - 1, np.diff(offset))[kept_n],
        [name for name, left_out in zip(names, gone, strict=True) if not left_out],
        image.filter(pa.array(kept_n)) if gone.any() else image,
        blocks,
    )


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in column.chunks])


def at_unit_length(block: np.ndarray) -> np.ndarray:
    """Rows of length 1.

    >>> at_unit_length(np.array([[3.0, 4.0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return block / np.linalg.norm(block.astype(np.float64), axis=1, keepdims=True).astype(np.float32)

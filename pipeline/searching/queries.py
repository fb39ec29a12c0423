"""QUERY of the command line: images, folders and files of embeddings, as embeddings.

Shapes: q queries, D numbers in an embedding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import InputError, StaleArtifactError
from ..console import Console
from ..sources.file_names import image_suffixes, is_aside
from .build_index import other_flip, refuse_foreign
from .index_folder import IndexFolder

if TYPE_CHECKING:
    from ..embedding.opened_network import OpenedNetwork

EMBEDDINGS = (".parquet", ".npy")


@dataclass(frozen=True)
class Queries:
    """What is looked for."""

    names: list[str]
    """Paths of images, as given or below the folder that was."""
    embeddings: np.ndarray
    """float32[q, D], unit length."""
    left_out: list[dict[str, str]]
    """Images that cannot be read: query and reason of each."""


def gather_queries(
    paths: Sequence[Path],
    folder: IndexFolder,
    console: Console,
    *,
    network: str | None = None,
    device: str | None = None,
    allow_code: bool = False,
) -> Queries:
    """Embeddings of all queries, images first.

    Args:
        network: embeds images; None: the one that the index was made with, where it was then.

    Raises:
        InputError: no such file, a folder without images, or no network to embed with.
        StaleArtifactError: the network, or the embeddings, are not those of the index.
    """
    files = [path for path in paths if path.suffix in EMBEDDINGS and not path.is_dir()]
    images = [image for path in paths if path not in files for image in _images(path)]
    names: list[str] = []
    parts: list[np.ndarray] = []
    left_out: list[dict[str, str]] = []
    if images:
        from .embedded_images import embed_files

        read, embeddings, bad = embed_files(
            images, _network(folder, network, allow_code), device, console, flip=folder.record.flip
        )
        names += [str(images[place]) for place in read]
        parts.append(embeddings)
        left_out = [{"query": str(images[image.image_id]), "reason": image.reason} for image in bad]
    for file in files:
        table = EmbeddingTable.open(file)
        refuse_foreign(table, folder.record.network, folder.record.dimensions, str(folder.path))
        unsaid = "" if table.network else "it does not say which network made it"
        if notes := "; ".join(filter(None, (unsaid, other_flip(table, folder.record.flip)))):
            console.say(f"{file}: {notes}")
        column = table.column("image")
        names += [f"{file}#row={row}" for row in range(table.rows)] if column is None else column.to_pylist()
        rows = table.read()
        parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return Queries(names, np.concatenate(parts), left_out)


def _images(path: Path) -> list[Path]:
    """The image itself, or all images below a folder, in order."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(
                f"{path} does not exist; a query is an image, a folder of images, or a .parquet or .npy file"
            )
        return [path]
    suffixes, found = image_suffixes(), []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not is_aside(name))
        found += [
            Path(folder, name)
            for name in sorted(names)
            if name.lower().endswith(suffixes) and not is_aside(name)
        ]
    if not found:
        raise InputError(f"{path} holds no images (known are {', '.join(suffixes)}); name another folder")
    return found


def _network(folder: IndexFolder, given: str | None, allow_code: bool) -> OpenedNetwork:
    from ..embedding.opened_network import choose_network, open_network

    record = folder.record
    if given is None and record.checkpoint is None:
        raise InputError(
            f"{folder.path} does not say which network embeds images; give --network CHECKPOINT, or embeddings as queries"
        )
    try:
        opened = open_network(choose_network(given or str(record.checkpoint)), allow_code=allow_code)
    except InputError as error:
        if given is not None:
            raise
        raise InputError(
            f"{error}; {folder.path} was made with it: say with --network where it is now"
        ) from error
    if opened.network.embedding_size != record.dimensions:
        raise StaleArtifactError(
            f"{opened.words} gives {opened.network.embedding_size} numbers, {folder.path} holds {record.dimensions}; "
            "give the --network that embedded it"
        )
    if record.network is not None and opened.fingerprint != record.network:
        raise StaleArtifactError(
            f"{opened.words} is network {opened.fingerprint}, {folder.path} was embedded by {record.network}; "
            "give that --network, or make the index again"
        )
    return opened

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
from ...mining.errors import InputError
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


@dataclass(frozen=True)
class QueryFiles:
    """What the command line names: images, and files of embeddings."""

    images: list[Path]
    tables: list[EmbeddingTable]

    @classmethod
    def find(cls, paths: Sequence[Path]) -> QueryFiles:
        """Find them; nothing is decoded.

        Raises:
            InputError: no such file, a folder without images, or a damaged table.
        """
        files = [path for path in paths if path.suffix in EMBEDDINGS and not path.is_dir()]
        images = [image for path in paths if path not in files for image in _images(path)]
        return cls(images, [EmbeddingTable.open(file) for file in files])

    def __len__(self) -> int:
        return len(self.images) + sum(table.rows for table in self.tables)


def gather_queries(
    found: QueryFiles,
    folder: IndexFolder,
    console: Console,
    opened: OpenedNetwork | None = None,
    device: str | None = None,
) -> Queries:
    """Embeddings of all queries, images first.

    Args:
        opened: embeds the images, where there are any.

    Raises:
        InputError: no image can be read.
        StaleArtifactError: the embeddings are not of the network of the index.
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    left_out: list[dict[str, str]] = []
    if found.images:
        from .embedded_images import embed_files

        assert opened is not None
        images = found.images
        read, embeddings, bad = embed_files(images, opened, device, console, flip=folder.record.flip)
        names += [str(images[place]) for place in read]
        parts.append(embeddings)
        left_out = [{"query": str(images[image.image_id]), "reason": image.reason} for image in bad]
    for table in found.tables:
        refuse_foreign(table, folder.record.network, folder.record.dimensions, str(folder.path))
        unsaid = "" if table.network else "it does not say which network made it"
        if notes := "; ".join(filter(None, (unsaid, other_flip(table, folder.record.flip)))):
            console.say(f"{table.path}: {notes}")
        column = table.column("image")
        names += (
            [f"{table.path}#row={row}" for row in range(table.rows)] if column is None else column.to_pylist()
        )
        rows = table.read()
        parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return Queries(names, np.concatenate(parts), left_out)


def _images(path: Path) -> list[Path]:
    """The image itself, or all images below a folder and the folders that it links to, in order."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(
                f"{path} does not exist; a query is an image, a folder of images, or a .parquet or .npy file"
            )
        return [path]
    suffixes, found = image_suffixes(), []
    for folder, folders, names in os.walk(path, onerror=_refuse, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not is_aside(name) and not _leads_back(Path(folder, name))
        )
        found += [
            Path(folder, name)
            for name in sorted(names)
            if name.lower().endswith(suffixes) and not is_aside(name)
        ]
    if not found:
        raise InputError(f"{path} holds no images (known are {', '.join(suffixes)}); name another folder")
    return found


def _refuse(error: OSError) -> None:
    raise InputError(f"cannot read {error.filename}: {error.strerror}") from error


def _leads_back(folder: Path) -> bool:
    """Whether a link leads to a folder around it."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())

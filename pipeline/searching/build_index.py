"""What `subspace index` does: an index begun, or rows added to one and identities deleted from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import InputError, StaleArtifactError
from ..console import Console, counted
from .index_folder import open_folder
from .row_sources import RowSource, refuse_again, rows_of_index, rows_of_table
from .write_index import IndexSettings, write_folder


def make_index(
    tables: Sequence[EmbeddingTable],
    out: Path,
    settings: IndexSettings,
    console: Console,
) -> dict[str, Any]:
    """Make an index of all rows of some files of embeddings; return what `--json` prints. The caller holds its lock.

    Raises:
        InputError: a file is damaged.
        StaleArtifactError: embeddings of another network than `settings` names.
    """
    for table in tables:
        settings = replace(
            settings,
            network=settings.network or table.network,
            checkpoint=settings.checkpoint or table.opened,
            flip=settings.flip or bool(table.flip),
        )
        refuse_foreign(
            table, settings.network, settings.dimensions, "the others" if len(tables) > 1 else "--network"
        )
    return write_folder(out, [_said(table, console, settings.flip) for table in tables], settings, console)


def change_index(
    path: Path,
    tables: Sequence[EmbeddingTable],
    without: Sequence[str],
    console: Console,
    *,
    called: Sequence[Path] = (),
) -> dict[str, Any]:
    """Delete identities from an index, then add rows to it, in one step; return what `--json` prints. The caller holds
    its lock.

    Args:
        called: what a user calls the tables: manifests that they were made of; their own paths by default.

    Raises:
        InputError: no such identity, nothing would be left, or damaged embeddings.
        StaleArtifactError: the index is damaged, or made by another network.
    """
    folder = open_folder(path)
    record = folder.record
    for table in tables:
        refuse_foreign(table, record.network, record.dimensions, str(path))
    kept = rows_of_index(folder, tuple(dict.fromkeys(without)))
    if kept is None and not tables:
        raise InputError(
            f"{path} would be empty without {counted(len(without), 'identity', 'identities')}; remove the folder"
        )
    settings = IndexSettings(
        record.dimensions,
        record.dtype,
        record.network or next((table.network for table in tables if table.network), None),
        record.checkpoint or next((table.opened for table in tables if table.opened), None),
        record.flip,
        record.asked,
        record.images_index is not None,
        record.seed,
        record.weights,
        tuple(record.preprocess),
    )
    sources = [kept] if kept else []
    for table, name in zip(tables, called or [table.path for table in tables], strict=True):
        source = _said(table, console, record.flip)
        for before in sources:
            refuse_again(source, before, name, path)
        sources.append(source)
    trained = (folder.gallery.means.index, folder.gallery.images.index)
    with folder.whole():
        return write_folder(path, sources, settings, console, trained=trained)


def refuse_foreign(table: EmbeddingTable, network: str | None, dimensions: int, of: str) -> None:
    """Refuse embeddings that cannot be compared with those of an index.

    Raises:
        StaleArtifactError: another network, or another number of dimensions.
    """
    if table.dimensions != dimensions:
        raise StaleArtifactError(
            f"{table.path} has embeddings of {table.dimensions} numbers, {of} of {dimensions}; embed it with the same network"
        )
    if network is not None and table.network not in (None, network):
        raise StaleArtifactError(
            f"{table.path} was embedded by network {table.network}, {of} by {network}; embed it with the same network"
        )


def other_flip(table: EmbeddingTable, flip: bool) -> str:
    """What to say where embeddings and an index differ in the mean with mirror images; else nothing."""
    if table.flip in (None, flip):
        return ""
    own, theirs = ("with", "without") if table.flip else ("without", "with")
    return f"embedded {own} --flip, the index {theirs}: similarities are a little lower"


def _said(table: EmbeddingTable, console: Console, flip: bool) -> RowSource:
    source = rows_of_table(table)
    unsaid = "" if table.network else "it does not say which network made it"
    if notes := "; ".join(filter(None, (source.said, unsaid, other_flip(table, flip)))):
        console.say(f"{table.path}: {notes}")
    return source

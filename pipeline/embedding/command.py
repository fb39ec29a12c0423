"""`subspace embed`, from what is asked for to the file."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...mining.artifacts import remove, remove_leftovers
from ...mining.embedding_files import rows_beside
from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...mining.schemas import EMBEDDING_ROWS, IMAGE_EMBEDDINGS, QUARANTINE
from ..child_processes import PARENT, end_with_parent
from ..faults.memory_advice import shortages_in_words
from ..options import Options
from ..output_file import FileKind, check_output, table_of
from ..rows.manifest_writer import quarantine_path
from ..run_directory import RunDirectory
from ..stages.parts import Shard
from .embedding_parts import LISTED, OURS
from .listed_images import ListedImages, list_images
from .opened_network import OpenedNetwork, choose_network, open_network, run_allows_code
from .request import EmbedRequest


def run_embedding(
    request: EmbedRequest,
    options: Options,
    shard: Shard | None = None,
    *,
    opened: OpenedNetwork | None = None,
) -> dict[str, Any]:
    """Embed what is asked for, unless it is done; return what a program may want to know.

    Args:
        opened: the network of `request`, where a caller has opened it.

    Raises:
        InputError: no such network or source, or the file cannot be written.
        StaleArtifactError: the file, or unfinished work for it, is of another network, other images or other settings.
        StoppedEarly: stopped; what is finished is kept.
    """
    console, force = options.console, "the same command with --force"
    if shard is not None:
        force += " in place of --shard and --num-shards"
    if shard is not None and (options.force or options.processes > 1):
        raise InputError("--shard makes some parts of many: leave --force and --processes out")
    child = PARENT in os.environ
    if child:
        end_with_parent()
    _check_places(request)
    if opened is None:
        allowed = request.allow_code or run_allows_code(request.network)
        opened = open_asked(replace(request, allow_code=allowed), options)
    from .embed_images import ImageEmbedding

    with ExitStack() as stack, shortages_in_words("embed", request.config, options.processes):
        # Shards work side by side, and each process of several under its parent's lock.
        if shard is None and not child and not options.dry_run:
            stack.enter_context(RunDirectory(request.parts).locked_to_make("embed"))
            _sweep(request, everything=options.force)
        folder = request.parts
        if options.dry_run:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="subspace-")))
        table = folder / LISTED
        if child:
            listed = ListedImages.open(table)
        else:
            listed = list_images(request.sources, table, request.splits, console.progress)
        for note in listed.notes:
            console.say(f"  {note}")
        work = ImageEmbedding(request, opened, listed, options)
        # A child makes parts of what its parent has found to be missing, by --force too.
        if not child and not options.force and work.is_done(force):
            console.say(f"{in_shell(request.out)} is there already, from the same network and images")
            if not options.dry_run:
                remove(request.parts)
            return {**work.facts(), "done": True}
        if not options.dry_run:
            work.parts.begin(force)
        if not child:
            console.say(f"embed: {work.estimate()}")
        if options.dry_run:
            return {**work.facts(), "rows": listed.rows, "dry_run": True}
        return work.work(shard) or {**work.facts(), "open": True}


def open_asked(request: EmbedRequest, options: Options) -> OpenedNetwork:
    """The network that is asked for, and what it is, said.

    Raises:
        InputError: it cannot be opened.
    """
    chosen = choose_network(request.network, request.weights)
    options.console.say(f"network: {chosen.words}")
    options.stop.hold(_import_torch)
    opened = open_network(chosen, request.config.preprocess, allow_code=request.allow_code)
    for remark in opened.network.remarks:
        options.console.say(f"  {remark}")
    return opened


def _check_places(request: EmbedRequest) -> None:
    """Refuse to write over, or to remove, anything but earlier work of this command.

    Raises:
        InputError: other files are where the embeddings, or what lies beside them, should be.
    """
    rows, kind = rows_beside(request.out), table_of(IMAGE_EMBEDDINGS.name)
    if request.out.suffix == ".npy":
        check_output(rows, table_of(EMBEDDING_ROWS.name), request.sources)
        kind = FileKind("file of embeddings with its rows beside it", (".npy",), lambda _: rows.exists())
    check_output(request.out, kind, request.sources)
    check_output(quarantine_path(request.out), table_of(QUARANTINE.name), request.sources)
    if not request.parts.exists():
        return
    if not request.parts.is_dir():
        raise InputError(f"{request.parts} is a file, where parts of embeddings go; give another --out")
    others = [entry.name for entry in request.parts.iterdir() if not entry.name.startswith(OURS)]
    if others:
        raise InputError(f"{request.parts} holds other files, such as {others[0]}; give another --out")


def _sweep(request: EmbedRequest, *, everything: bool) -> None:
    """Remove what killed commands left half-written, or all unfinished work; the lock stays."""
    if everything:
        for entry in request.parts.iterdir():
            if entry != RunDirectory(request.parts).lock:
                remove(entry)
    for file in (request.out, rows_beside(request.out), quarantine_path(request.out)):
        remove_leftovers(file)


def _import_torch() -> None:
    import torch  # noqa: F401

"""Which reader a path gets, by its name, its suffix or its first bytes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ...mining.parquet_tables import open_parquet
from ...mining.schemas import PLAN, kind_of
from ..run_directory import RunDirectory
from .summary import Summary

Reader = tuple[str, str]
"""Module and function, which is imported when it is needed: a table should not wait for the models of all documents."""

TABLE: Reader = ("tables", "summarize_table")
RUN = RunDirectory(Path())
BY_NAME: dict[str, Reader] = {
    RUN.lock.name: ("side_files", "summarize_lock"),
    RUN.image_index.name: ("side_files", "summarize_index"),
    RUN.overrides.name: ("settings_file", "summarize_overrides"),
}
BY_SUFFIX: dict[str, Reader] = {
    ".parquet": TABLE,
    ".safetensors": ("weights", "summarize_weights"),
    ".json": ("documents", "summarize_document"),
    ".jsonl": ("training_log", "summarize_log"),
    ".yaml": ("settings_file", "summarize_yaml"),
    ".yml": ("settings_file", "summarize_yaml"),
    ".log": ("side_files", "summarize_text_log"),
    ".out": ("side_files", "summarize_text_log"),
    ".sh": ("side_files", "summarize_script"),
    ".svg": ("side_files", "summarize_plot"),
}
BY_START: dict[str, Reader] = {"events.out.tfevents.": ("side_files", "summarize_events")}
"""Readers by how the name of a file begins."""
READS = (
    "a run or a folder of it, Parquet tables, checkpoints, safetensors, JSON, metrics.jsonl, YAML, logs, job scripts, "
    "plots, images.index, .lock, TensorBoard's event files"
)


def summarize_path(path: Path, begun: Callable[[Summary], None] | None = None) -> Summary:
    """Summarise a file or a folder of a run.

    Args:
        begun: called with the summary of a table before its rows are read, as they may be many.

    Raises:
        InputError: nothing there, damaged, or of no kind that is known.
    """
    if path.is_dir():
        return _summarize_folder(path, begun)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    starts = (reader for start, reader in BY_START.items() if path.name.startswith(start))
    reader = BY_NAME.get(path.name) or next(starts, None) or BY_SUFFIX.get(path.suffix.lower())
    if reader is None and _is_parquet(path):
        reader = TABLE
    if reader is None:
        raise InputError(f"{path} is no file of a run; inspect reads {READS}")
    return _read(TABLE, path, None, begun) if reader == TABLE else _read(reader, path)


def _summarize_folder(path: Path, begun: Callable[[Summary], None] | None) -> Summary:
    """A checkpoint, the files of one table (a plan has several), or a list of what is there."""
    if (path / "meta.json").exists():
        return _read(("checkpoint", "summarize_checkpoint"), path)
    files = sorted(file for file in path.iterdir() if not file.name.startswith("._"))  # laid there by macOS
    parts = [file for file in files if file.suffix == ".parquet"]
    if parts and len(parts) == len(files):
        if len(parts) == 1:
            return _read(TABLE, parts[0], None, begun)
        if kind_of(open_parquet(parts[0]).schema_arrow) is PLAN:
            return _read(TABLE, path, parts, begun)
    return _read(("folders", "summarize_folder"), path)


def _read(reader: Reader, *arguments: Any) -> Summary:
    module, function = reader
    return getattr(import_module(f".{module}", __package__), function)(*arguments)


def _is_parquet(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error

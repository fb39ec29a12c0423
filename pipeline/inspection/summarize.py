"""Which reader a path gets, by its name, its suffix or its first bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...mining.errors import InputError
from ...mining.parquet_tables import open_parquet
from ...mining.schemas import PLAN, kind_of
from ..run_directory import RunDirectory
from .checkpoint import summarize_checkpoint
from .documents import summarize_document
from .folders import summarize_folder
from .settings_file import summarize_overrides, summarize_yaml
from .side_files import (
    summarize_events,
    summarize_index,
    summarize_lock,
    summarize_plot,
    summarize_script,
    summarize_text_log,
)
from .summary import Summary
from .tables import summarize_table
from .training_log import summarize_log
from .weights import summarize_weights

Reader = Callable[[Path], Summary]

RUN = RunDirectory(Path())
BY_NAME: dict[str, Reader] = {
    RUN.lock.name: summarize_lock,
    RUN.image_index.name: summarize_index,
    RUN.overrides.name: summarize_overrides,
}
BY_SUFFIX: dict[str, Reader] = {
    ".parquet": summarize_table,
    ".safetensors": summarize_weights,
    ".json": summarize_document,
    ".jsonl": summarize_log,
    ".yaml": summarize_yaml,
    ".yml": summarize_yaml,
    ".log": summarize_text_log,
    ".out": summarize_text_log,
    ".sh": summarize_script,
    ".svg": summarize_plot,
}
BY_START: dict[str, Reader] = {"events.out.tfevents.": summarize_events}
"""Readers by how the name of a file begins."""
READS = (
    "a run or a folder of it, Parquet tables, checkpoints, safetensors, JSON, metrics.jsonl, YAML, logs, job scripts, "
    "plots, images.index, .lock, TensorBoard's event files"
)


def summarize_path(path: Path) -> Summary:
    """Summarise a file or a folder of a run.

    Raises:
        InputError: nothing there, damaged, or of no kind that is known.
    """
    if path.is_dir():
        return _summarize_folder(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    starts = (reader for start, reader in BY_START.items() if path.name.startswith(start))
    reader = BY_NAME.get(path.name) or next(starts, None) or BY_SUFFIX.get(path.suffix.lower())
    if reader is None and _is_parquet(path):
        reader = summarize_table
    if reader is None:
        raise InputError(f"{path} is no file of a run; inspect reads {READS}")
    return reader(path)


def _summarize_folder(path: Path) -> Summary:
    """A checkpoint, the files of one table (a plan has several), or a list of what is there."""
    if (path / "meta.json").exists():
        return summarize_checkpoint(path)
    files = sorted(path.iterdir())
    parts = [file for file in files if file.suffix == ".parquet"]
    if parts and len(parts) == len(files):
        if len(parts) == 1:
            return summarize_table(parts[0])
        if kind_of(open_parquet(parts[0]).schema_arrow) is PLAN:
            return summarize_table(path, parts)
    return summarize_folder(path)


def _is_parquet(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error

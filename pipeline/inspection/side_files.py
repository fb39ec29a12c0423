"""What a run has beside its results: the lock, the image index, TensorBoard's files, plots, logs, job scripts."""

from __future__ import annotations

import shlex
import struct
import time
from pathlib import Path

from ...mining.errors import InputError
from ..console import duration
from ..run_directory import MOST_LOCK_CHARACTERS, RunDirectory
from .folders import FILE_WORDS
from .summary import Summary

MOST_SCRIPT_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20
TAIL_BYTES = 64 * 1024
TAIL_LINES = 10
INDEX_TITLE = "subspace image index 1"
INDEX_HEADER_BYTES = 128
EVENT_HEADER_BYTES, EVENT_FOOTER_BYTES = 12, 4


def summarize_lock(path: Path) -> Summary:
    """Summarise the .lock of a run: which command is at work, or was stopped.

    Raises:
        InputError: damaged.
    """
    note, alive = RunDirectory(path.parent).activity()
    summary = Summary(str(path), "lock", title="lock of a run")
    if note is None and _read(path, MOST_LOCK_CHARACTERS).strip():
        raise InputError(f"{path} is damaged: a lock holds one JSON object; the next command writes it anew")
    summary.facts["note"], summary.facts["alive"] = note, alive
    if note is None:
        summary.show("state", words="no command is at work here")
        return summary
    summary.show("command", words=f"subspace {note['command']}")
    summary.show("process", words=f"{note['pid']} on {note['host']}")
    summary.show("begun", words=f"{duration(time.time() - note['since'])} ago")
    summary.show("state", words="running" if alive else "was stopped or killed; run it again to continue")
    return summary


def summarize_index(path: Path) -> Summary:
    """Summarise an images.index.

    Raises:
        InputError: missing, or none.
    """
    lines = _read(path, INDEX_HEADER_BYTES).decode(errors="replace").split("\n")
    count = lines[1].removesuffix(" images") if len(lines) > 2 else ""
    if lines[0] != INDEX_TITLE or not (count.isascii() and count.isdigit()):
        raise InputError(
            f"{path} is not a readable image index (truncated?); remove it, training makes it again"
        )
    summary = Summary(
        str(path), "image_index", title="where the images of a manifest lie, made again when missing"
    )
    summary.add("images", int(count))
    summary.add("manifest", lines[2].strip(), "fingerprint of the manifest")
    summary.add_bytes(path.stat().st_size)
    return summary


def summarize_events(path: Path) -> Summary:
    """Summarise an event file of TensorBoard.

    Raises:
        InputError: missing, or none.
    """
    data = _read(path, 64)
    size = path.stat().st_size
    if b"brain.Event:" not in data:
        raise InputError(f"{path} is not a readable TensorBoard event file (truncated?)")
    summary = Summary(str(path), "events", title="curves and pictures of a training, for TensorBoard")
    records, at = 0, 0
    with open(path, "rb") as file:
        while len(head := file.read(EVENT_HEADER_BYTES)) == EVENT_HEADER_BYTES:
            at += EVENT_HEADER_BYTES + struct.unpack("<Q", head[:8])[0] + EVENT_FOOTER_BYTES
            if at > size:
                break
            records += 1
            file.seek(at)
    summary.add("events", records)
    summary.add_bytes(size)
    if at > size:
        summary.show("end", words="cut short; TensorBoard shows what is before it")
    summary.show("to see it", words=f"tensorboard --logdir {shlex.quote(str(path.parent))}")
    return summary


def summarize_text_log(path: Path) -> Summary:
    """Summarise what a job or a command said: how much, and its last lines.

    Raises:
        InputError: missing.
    """
    lines = size = 0
    tail = b""
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                lines, size = lines + block.count(b"\n"), size + len(block)
                tail = (tail + block)[-TAIL_BYTES:]
    except OSError as error:
        raise _unreadable(path, error) from error
    summary = Summary(str(path), "log", title="what a job said")
    summary.add("lines", lines)
    summary.add_bytes(size)
    last = tail.decode(errors="replace").rstrip().split("\n")[-TAIL_LINES:]
    last = [line.rstrip("\r").rpartition("\r")[2] for line in last]  # of a progress bar the last state
    if any(last):
        summary.facts["last_lines"] = last
        summary.show_list("last lines", last)
    return summary


def summarize_plot(path: Path) -> Summary:
    """Summarise a plot of a run: of `subspace lr`, or of `subspace search-loss`.

    Raises:
        InputError: missing, or no SVG.
    """
    if not _read(path, 4) == b"<svg":
        raise InputError(f"{path} is no plot of a run")
    summary = Summary(str(path), "plot", title=FILE_WORDS.get(path.name, "a plot"))
    summary.add_bytes(path.stat().st_size)
    summary.show("to see it", words="any browser shows it")
    return summary


def summarize_script(path: Path) -> Summary:
    """Summarise a script that `subspace submit` wrote: what it asks the scheduler for, and what it runs.

    Raises:
        InputError: missing, or another script.
    """
    text = _read(path, MOST_SCRIPT_BYTES + 1)
    lines = text.decode(errors="replace").splitlines()
    if len(text) > MOST_SCRIPT_BYTES or not any("subspace" in line or "kubectl" in line for line in lines):
        raise InputError(f"{path} is a script, but none of `subspace submit`")
    summary = Summary(str(path), "script", title="script of `subspace submit`")
    summary.add("lines", len(lines))
    asks = [line.removeprefix("#SBATCH").strip() for line in lines if line.startswith("#SBATCH")]
    if asks:
        summary.facts["asks"] = asks
        summary.show_list("asks Slurm for", asks)
    runs = [
        line.strip()
        for line in lines
        if line.startswith(("run ", "exec ", "    exec ")) and "subspace" in line
    ]
    if runs:
        summary.facts["runs"] = runs
        summary.show_list("runs", runs)
    return summary


def _read(path: Path, size: int) -> bytes:
    """The first bytes of a file, so many at most."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot read {path}: {error.strerror}")

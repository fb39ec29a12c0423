"""A checkpoint folder, by its meta.json and the headers of its weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ...train.checkpoint_meta import read_meta
from ...train.networks.registry import KINDS
from ..console import amount
from .summary import Summary
from .weights import TITLES, read_tensor_headers

WORDS = {
    "spec": ("network", ""),
    "embedding_size": ("embedding size", "numbers"),
    "step": ("training steps taken", ""),
    "created_by": ("made by", ""),
    "fingerprint": ("fingerprint", ""),
    "parent": ("trained from", ""),
    "plan": ("trained on plan", ""),
}
"""What the keys of meta.json are called, and their units, in the order in which they are shown."""

TYPES = {"spec": str, "embedding_size": int, "step": int, "collapse": dict, "scaler": dict}


_WITHOUT_TENSORS = {
    "meta.json": "network, step, fingerprints, settings",
    **{kind.kept_as: "the program of a frozen network" for kind in KINDS.values() if kind.kept_as},
}
"""What files without tensors of ours are, by name."""


def summarize_checkpoint(folder: Path) -> Summary:
    """Summarise a checkpoint folder.

    Raises:
        InputError: its meta.json is missing, damaged or not ours.
    """
    summary = summarize_meta(folder / "meta.json")
    summary.path, summary.kind, summary.title = str(folder), "checkpoint", "checkpoint"
    files = {file.name: file.lstat().st_size for file in sorted(folder.iterdir())}
    summary.facts["files"] = files
    rows = [["file", "what it is", "numbers", "size"]]
    rows += [[name, *_contents(folder / name), amount(size)] for name, size in files.items()]
    summary.show_table("files", rows, text=(0, 1))
    return summary


def summarize_meta(path: Path) -> Summary:
    """Summarise the meta.json of a checkpoint.

    Raises:
        InputError: missing, damaged or not ours.
    """
    meta = asdict(read_meta(path.parent))
    for key, kind in TYPES.items():
        if not isinstance(meta[key], kind):
            raise InputError(f"{path} was not written by this program: {key} is {meta[key]!r}")
    summary = Summary(str(path), "checkpoint_meta", title="what a checkpoint says of itself")
    summary.facts = {key: value for key, value in meta.items() if key != "config" and value is not None}
    for key, (label, unit) in WORDS.items():
        if meta[key] is not None:
            summary.add(key, meta[key], label, unit)
    _show_guards(summary, meta)
    return summary


def _show_guards(summary: Summary, meta: dict[str, Any]) -> None:
    level, peak, scale = (
        meta["collapse"].get("level"),
        meta["collapse"].get("peak"),
        meta["scaler"].get("scale"),
    )
    if level:
        summary.show("softened against collapse", f"{level:,}", "times" if level != 1 else "time")
    if peak:
        summary.show("largest mean squared distance", f"{peak:.3f}", "of all pairs of a batch, 0 to 4")
    if scale:
        summary.show("fp16 loss scale", f"{scale:,.0f}")


def _contents(path: Path) -> tuple[str, str]:
    """What a file of a checkpoint is, and how many numbers it holds."""
    if path.suffix != ".safetensors":
        return _WITHOUT_TENSORS.get(path.name, "unknown"), ""
    try:
        count = sum(tensor.numbers for tensor in read_tensor_headers(path))
    except InputError:
        return "damaged", ""
    return TITLES.get(path.stem, "tensors"), f"{count:,}"

"""What a run came to, without clocks: of every file that must not depend on accidents, a hash of what it says.

Tables, plans and weights count byte by byte. Of JSON, times and speeds are left out, and paths begin at the run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

WHOLE = (".parquet", ".safetensors")
"""Suffixes of files that are compared byte by byte."""
IN_JSON = ("meta.json", "validation.json", "evaluation.json", "best.json", "overrides.json")
"""Files whose contents are compared, wherever they lie."""
LAST_STAGES = ("train", "pretrain"), ("eval",)
"""A folder of a network is finished once one of each has its marker."""


def results_of(folder: Path) -> dict[str, str]:
    """Hashes of all results below a folder, by their paths in it; what is on the way (`resume`, parts) is none."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() or {"resume", "tensorboard"} & set(name.parts):
            continue
        if path.is_symlink():
            found[str(name)] = str(path.readlink())
        elif path.suffix in WHOLE:
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "metrics.jsonl":
            found[str(name)] = _hash([json.loads(line) for line in path.read_text().splitlines()])
        elif path.name in IN_JSON:
            found[str(name)] = _hash(json.loads(path.read_text()))
        elif path.parent.name == "done" and path.suffix == ".json":
            marker = json.loads(path.read_text())
            found[str(name)] = _hash([marker["fingerprint"], marker.get("fields")])
    return found


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Paths that only one has, or whose contents differ; empty: the results are equal."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def finished_folders(run: Path) -> list[str]:
    """Names of the folders of networks (`start`, `round-000`, ...) in which nothing is to be done any more."""
    return [
        folder.name
        for folder in sorted(run.iterdir(), key=lambda path: (path.name != "start", path.name))
        if all(any((folder / "done" / f"{stage}.json").exists() for stage in some) for some in LAST_STAGES)
    ]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(_timeless(value), sort_keys=True).encode()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _timeless(own)
            for name, own in value.items()
            if not name.startswith("seconds") and name not in ("images_per_second", "finished")
        }
    return [_timeless(own) for own in value] if isinstance(value, list) else value

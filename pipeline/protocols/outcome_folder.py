"""The folder of an evaluation: metrics.json, tables and plots, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ...mining.artifacts import whole_folder, write_json
from ...mining.errors import InputError
from ...mining.fingerprints import CREATED_BY
from ...mining.local_paths import refuse_url
from .outcome import Outcome
from .registry import METRICS_FILE, PROTOCOLS

NO_PLOTS = "no plots: matplotlib is missing, pip install 'subspace-mining[plots]'"


def check_target(folder: Path, force: bool) -> None:
    """Refuse a folder that is there already, unless `force`; and even then one with files of others.

    Raises:
        InputError: it would be written over.
    """
    refuse_url(folder)
    if folder.name in ("", ".."):
        raise InputError(
            f"--out {folder}: an evaluation takes the place of a whole folder; give it by its name"
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give --out a folder")
    ours = {METRICS_FILE, *(name for protocol in PROTOCOLS.values() for name in protocol.writes)}
    names = {path.name for path in folder.iterdir()}
    others = sorted(names - ours)
    if others:
        raise InputError(
            f"{folder} holds other files ({', '.join(others[:3])}); give --out a folder of its own"
        )
    if names and METRICS_FILE not in names:
        raise InputError(f"{folder} holds files that are of no evaluation; give --out a folder of its own")
    if names and not force:
        raise InputError(f"{folder} is there already; write it anew with --force, or give another --out")


def write_outcome(folder: Path, name: str, outcome: Outcome, origin: Mapping[str, Any]) -> list[str]:
    """Write the folder of one protocol; returns the names of its files, and raises where it cannot be written.

    Args:
        origin: what was evaluated and how: kept in metrics.json.
    """
    plots = find_spec("matplotlib") is not None
    with whole_folder(folder.resolve()) as aside:
        for file, table in outcome.tables.items():
            metadata = {"kind": f"evaluation {name}", "created_by": CREATED_BY}
            pq.write_table(table.replace_schema_metadata(metadata), aside / file, compression="zstd")
        if plots and outcome.curves:
            from .plots import draw

            for file, curve in outcome.curves.items():
                draw(curve, aside / file)
        write_json(
            aside / METRICS_FILE, {"protocol": name, **outcome.to_json(), **origin, "created_by": CREATED_BY}
        )
    return [METRICS_FILE, *outcome.tables, *(outcome.curves if plots else ())]


def has_plots() -> bool:
    """Whether plots can be drawn here."""
    return find_spec("matplotlib") is not None

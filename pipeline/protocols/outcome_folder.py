"""The folder of an evaluation: metrics.json, tables and plots, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ...mining.artifacts import whole_folder, write_json
from ...mining.fingerprints import CREATED_BY
from ..output_file import check_output_folder
from .outcome import Outcome
from .registry import METRICS_FILE, PROTOCOLS

NO_PLOTS = "no plots: matplotlib is missing, pip install 'subspace-mining[plots]'"


def check_target(folder: Path, force: bool) -> None:
    """Refuse a folder that is there already, unless `force`; and even then one with files of others.

    Raises:
        InputError: it would be written over.
    """
    ours = {METRICS_FILE, *(name for protocol in PROTOCOLS.values() for name in protocol.writes)}
    check_output_folder(folder, force, what="evaluation", ours=ours, mark=METRICS_FILE)


def write_outcome(folder: Path, name: str, outcome: Outcome, origin: Mapping[str, Any]) -> list[str]:
    """Write the folder of one protocol; returns the names of its files, and raises where it cannot be written.

    Args:
        origin: what was evaluated and how: kept in metrics.json.
    """
    plots = has_plots()
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

"""Commands in this process on runs whose markers have no checksums, as before there were any: for readers of damage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from subspace.mining.errors import SubspaceError
from subspace.pipeline.cli import app
from subspace.pipeline.faults.damaged_files import damage_in_words
from subspace.pipeline.stages.graph import STAGES


def unseal(run: Path) -> None:
    """Take the checksums out of all markers."""
    for marker in run.glob("*/done/*.json"):
        record = json.loads(marker.read_text())
        record.pop("files")
        marker.write_text(json.dumps(record))


def said_by(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of a command and the line that it ends with; anything but an error of ours is raised."""
    try:
        with damage_in_words(STAGES):
            app(list(arguments), standalone_mode=False)
    except SubspaceError as error:
        return error.exit_code, str(error)
    return 0, ""

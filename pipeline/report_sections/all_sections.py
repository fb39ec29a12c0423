"""The sections of a report in their order, and the whole report of a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..console import Console, amount
from ..report.run_report import RunReport
from ..report.section import MakeSection
from ..report.write_report import make_page
from ..run_directory import RunDirectory
from .activity import make_activity
from .curves import make_curves
from .hardness import make_hardness
from .identity_map import make_identity_map
from .lookalikes import make_lookalikes
from .mistakes import make_mistakes
from .outcome import make_outcome
from .provenance import make_provenance
from .settings import make_settings
from .subspaces import make_subspaces
from .suspects import make_suspects
from .time_spent import make_time_spent

SECTIONS: tuple[MakeSection, ...] = (
    make_outcome,
    make_lookalikes,
    make_hardness,
    make_activity,
    make_curves,
    make_identity_map,
    make_subspaces,
    make_mistakes,
    make_suspects,
    make_time_spent,
    make_settings,
    make_provenance,
)
"""In the order in which one asks: did it help, why, where, at what price, and with what."""


def report_file(run: RunDirectory) -> Path:
    """Where the report of a run lies unless said."""
    return run.path / "report.html"


def report_run(report: RunReport, out: Path, console: Console) -> dict[str, Any]:
    """Write the report of a run, and say so; the result is what `--json` prints.

    Raises:
        InputError: it cannot be written.
        StaleArtifactError: a file of the run is damaged.
    """
    begun = time.monotonic()
    with console.progress("report", len(SECTIONS), "sections") as progress:
        made = make_page(report, SECTIONS, out, track=progress.update)
    size = out.stat().st_size
    console.say(f"{out}: {len(made)} sections, {amount(size)}; open it in a browser")
    return {
        "report": str(out),
        "bytes": size,
        "sections": [section.name for section in made],
        "seed": report.seed,
        "seconds": round(time.monotonic() - begun, 3),
    }

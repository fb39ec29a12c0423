"""`subspace report`: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .parameters import AsJson, DryRun, Quiet, RunPath

commands = typer.Typer()


@commands.command(
    epilog="Example: subspace report runs/photos --baseline runs/photos-random --out photos.html"
)
def report(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="HTML to write; RUN/report.html by default.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Run to set beside it, such as one of random batches.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn by lot: pictures, identities.")] = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """One self-contained HTML page of a run, as far as it is: did it help, what was mined, where the time went."""
    from ..console import Console
    from ..inspection.without_pandas import leave_pandas_out
    from ..output_file import check_output
    from ..report.page import REPORT_PAGE
    from ..report.run_report import RunReport
    from ..report_sections.all_sections import report_file, report_run

    if out is not None:
        check_output(out, REPORT_PAGE)
    leave_pandas_out()
    console, opened = Console(quiet, as_json), RunReport.open(run, seed=seed, baseline=baseline)
    out = out or report_file(opened.run)
    if dry_run:
        console.say(f"would write {out}; nothing was done")
        return console.result({"report": str(out), "written": False})
    return console.result(report_run(opened, out, console))

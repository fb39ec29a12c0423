"""`subspace submit`, `logs` and `cancel`: a run on a cluster, or in the background."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .parameters import AsJson, DryRun, Overrides, Quiet, RunPath, working

commands = typer.Typer()


@commands.command(
    "submit",
    epilog="Example: subspace submit runs/photos --dry-run schedule.stages.train.gpus=8; subspace submit runs/photos",
)
def submit_command(
    run: RunPath,
    overrides: Overrides = None,
    scheduler: Annotated[
        str | None, typer.Option(help="slurm, local or kubernetes; default: schedule.scheduler.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="First forget what is stale, so that it is made again.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Hand all stages that are not done to a scheduler, each behind the one before; missing shards only."""
    from ..schedulers.submit import submit_run

    if scheduler is not None:
        overrides = [*(overrides or []), f"schedule.scheduler={scheduler}"]
    flags: dict[str, Any] = {"remake_stale": force, "dry_run": dry_run, "as_json": as_json, "quiet": quiet}
    with working(run, "submit", overrides, **flags, lock=False) as context:
        context.options.console.result(submit_run(context))


@commands.command(
    "logs", epilog="Example: subspace logs runs/photos --failed; subspace logs runs/photos train --lines 50"
)
def logs_command(
    run: RunPath,
    stage: Annotated[
        str | None,
        typer.Argument(help="A stage, of all rounds or of one (round-000/train), or a job; default: all."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only of jobs that failed.")] = False,
    lines: Annotated[int, typer.Option(min=1, help="Last lines of each log.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The last lines of what the jobs of the last `subspace submit` said, and where all of it is."""
    from ..schedulers.submit import read_logs

    with working(run, "logs", None, as_json=as_json, lock=False, needs_manifest=False) as context:
        found = read_logs(context, stage=stage, failed=failed, lines=lines)
        context.options.console.result(found)
        for path, text in found.items():
            context.say(f"== {path}")
            context.options.console.say_lines(f"{text}\n")
        if not found:
            context.say("no job has failed" if failed else "no job has begun")


@commands.command("cancel", epilog="Example: subspace cancel runs/photos")
def cancel_command(run: RunPath, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Stop the jobs of the last `subspace submit`; what they have done stays, and submitting again goes on."""
    from ..console import Console
    from ..options import Options
    from ..run_directory import RunDirectory
    from ..schedulers.submit import cancel_jobs

    options = Options(Console(quiet, as_json))
    options.console.result(cancel_jobs(RunDirectory(Path(run)), options))

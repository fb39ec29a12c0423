"""`subspace run`, `status` and `demo`: whole runs, and how far they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .parameters import (
    AsJson,
    Device,
    DryRun,
    Overrides,
    Processes,
    Quiet,
    Resume,
    RunPath,
    working,
)

commands = typer.Typer()


@commands.command(epilog="Example: subspace run runs/photos rounds=4 plan.steps=5000")
def run(
    run: RunPath,
    overrides: Overrides = None,
    device: Device = None,
    processes: Processes = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Make stages again that were done with other settings.")
    ] = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """All stages, round after round, re-clustering each time; continues wherever it stopped."""
    from ..rounds import run_rounds

    flags: dict[str, Any] = {"device": device, "remake_stale": force, "resume": resume, "dry_run": dry_run}
    with working(
        run, "run", overrides, **flags, as_json=as_json, quiet=quiet, processes=processes
    ) as context:
        context.options.console.result(run_rounds(context))


@commands.command(epilog="Example: subspace status runs/photos")
def status(
    run: RunPath,
    overrides: Overrides = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check every file of the finished stages against its checksum, too."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What is done, begun, stale or still to do, and where the time went."""
    from ...mining.errors import InputError
    from ..schedulers.job_states import read_job_states, with_jobs
    from ..schedulers.submission import Submission
    from ..status import as_json as to_json
    from ..status import describe, stage_statuses

    with working(run, "status", overrides, lock=False, as_json=as_json) as context:
        statuses, unknown = stage_statuses(context), None
        submission = Submission.latest(context.run)
        if submission is not None:
            try:
                states = read_job_states(context, submission, statuses)
                statuses = with_jobs(statuses, states)
            except InputError as error:  # the markers say what is done, whether the scheduler answers or not
                unknown = f"what is queued or running is not known: {error}"
        console = context.options.console
        console.result(to_json(statuses))
        if not as_json:
            console.say(describe(context.run, statuses))
        if unknown is not None:
            console.say(unknown)
        if verify:
            from ..verification import verify_files

            verify_files(context)


@commands.command(
    epilog="Example: subspace demo --seed 1 --out runs; subspace demo --manifest photos.parquet plan.steps=1000"
)
def demo(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings of all three runs.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for demo-start, demo-random and demo-subspace.")] = Path(
        "runs"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest to use instead of the shipped glyphs.")
    ] = None,
    device: Device = None,
    force: Annotated[bool, typer.Option("--force", help="Throw earlier demo runs away.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The whole loop on real images: random batches against subspaces, from one start, for the same steps."""
    from ..console import Console
    from ..demo import run_demo
    from ..options import Options

    options = Options(Console(quiet, as_json), device, force, dry_run=dry_run)
    with options.stop.listening():
        options.console.result(run_demo(out, seed, manifest, options, overrides or []))

"""`subspace run`, `status` and `demo`: whole runs, and how far they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from .parameters import (
    AsJson,
    Device,
    DryRun,
    EachOnce,
    Overrides,
    Processes,
    Quiet,
    Resume,
    RunPath,
    working,
)

commands = typer.Typer()
WATCH_SECONDS = 5
"""Between two looks of `subspace status --watch`."""


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


class _Watching(EachOnce):
    """Takes `--watch` with a number of seconds behind it or without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default behind a `--watch` that stands alone."""
        whole = [*args, ""]
        alone = [
            place for place, word in enumerate(args) if word == "--watch" and not _is_number(whole[place + 1])
        ]
        for place in reversed(alone):
            args.insert(place + 1, str(WATCH_SECONDS))
        return super().parse_args(ctx, args)


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+", word) is not None


@commands.command(
    epilog="Example: subspace status runs/photos; subspace status runs/photos --watch", cls=_Watching
)
def status(
    run: RunPath,
    overrides: Overrides = None,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            min=0.5,
            metavar="[SECONDS]",
            help=f"Show it again every so many seconds, {WATCH_SECONDS} by default, until the run ends.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check every file of the finished stages against its checksum, too."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What runs now, how far and until when; what is done, stale or left; and where the time went."""
    from ...mining.errors import InputError
    from ..following.look import show_status
    from ..inspection.without_pandas import leave_pandas_out

    if watch is not None and as_json:
        raise InputError("--watch draws for a person and --json is for a program; leave one out")
    leave_pandas_out()
    with working(run, "status", overrides, lock=False, as_json=as_json, needs_manifest=False) as context:
        show_status(context, watch, json=as_json)
        if verify:
            from ..following.verification import verify_files

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

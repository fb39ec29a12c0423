"""`subspace run`, `status`, `inspect` and `demo`: whole runs, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .parameters import (
    ALLOW_CODE,
    AllowCode,
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


class _Watching(TyperCommand):
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

    if watch is not None and as_json:
        raise InputError("--watch draws for a person and --json is for a program; leave one out")
    with working(run, "status", overrides, lock=False, as_json=as_json) as context:
        show_status(context, watch, json=as_json)
        if verify:
            from ..verification import verify_files

            verify_files(context)


@commands.command(epilog="Example: subspace inspect runs/photos/round-000/subspaces.parquet")
def inspect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="Any file or folder of a run, the run, or a network as --model names it."
        ),
    ],
    overrides: Overrides = None,
    check: Annotated[
        bool, typer.Option("--check", help="Of a manifest: decode its images, and list what cannot be.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="With --check: only so many images, drawn at random.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --check: Parquet to write the bad images to, if there are any.")
    ] = None,
    num_workers: Annotated[
        int | None, typer.Option(min=0, help="With --check: processes that decode; a core each by default.")
    ] = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Summarise any file or folder of a run, or a network: what it is, how much it holds, how it is spread.

    With --check, bad images are findings and no error (exit code 0), unless all are bad (2).
    """
    from ...mining.errors import InputError
    from ...mining.remote import in_words, is_url
    from ..console import Console
    from ..inspection.network import names_network, summarize_network

    path, console = Path(what), Console(quiet, as_json)
    if check:
        from ...mining.machine import usable_cores
        from ..manifests.image_check import check_images

        workers = usable_cores() if num_workers is None else num_workers
        checked = check_images(path, console.progress, sample=sample, num_workers=workers, out=out)
        for line in checked.lines():
            console.say(line)
        if out is not None and checked.bad.num_rows:
            console.say(f"  listed in {out}")
        return console.result(checked.to_json())
    for option, given in (("--sample", sample), ("--out", out), ("--num-workers", num_workers)):
        if given is not None:
            raise InputError(f"{option} says nothing without --check; leave it out, or add that")
    if names_network(what) and not path.exists():
        summary = summarize_network(what, [*(overrides or []), *([ALLOW_CODE] if allow_code else [])])
        console.result(summary.to_json())
        return None if as_json else console.say_lines("\n".join(summary.lines()))
    if overrides:
        raise InputError(
            f"{' '.join(overrides)}: settings go with a network, such as iresnet50, and {path} is none"
        )
    if is_url(path):
        raise InputError(
            f"{in_words(path)}: only --check reads a manifest from a URL; copy it to a disk to see what it holds"
        )
    if (path / "subspace.yaml").exists():
        return status(path, as_json=as_json)
    from ..inspection.summarize import summarize_path

    summary = summarize_path(path)
    console.result(summary.to_json())
    if not as_json:
        console.say_lines("\n".join(summary.lines()))
    return None


@commands.command(epilog="Example: subspace demo --seed 1 --out runs")
def demo(
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
        options.console.result(run_demo(out, seed, manifest, options))

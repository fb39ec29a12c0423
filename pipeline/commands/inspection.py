"""`subspace inspect` and `compare`: what is in a file or a run, and what several runs came to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .parameters import ALLOW_CODE, AllowCode, AsJson, Overrides, Quiet

if TYPE_CHECKING:
    from ..console import Console
    from ..inspection.summary import Summary
    from ..montages.requested import MontageRequest

commands = typer.Typer()
ROWS_SHOWN = 1000
"""Rows of an answer that people are shown; --json has all."""


@commands.command(epilog="Example: subspace inspect runs/photos/round-000/subspaces.parquet")
def inspect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="Any file or folder of a run, the run, or a network as --model names it."
        ),
    ],
    overrides: Overrides = None,
    sql: Annotated[
        str | None,
        typer.Option(metavar="SELECT", help="Answer one select over the tables of PATH; a file is `this`."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Draw so many images, identities or pairs of PATH into the PNG file --out."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=0, help="With --images: this batch of a plan, counted from 0.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="With --images: the images of this identity.")] = None,
    subspace: Annotated[
        int | None, typer.Option(min=0, help="With --images: an image of each identity of this subspace.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Of a manifest: decode its images, and list what cannot be.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="With --check: only so many images, drawn at random.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --images: the PNG. With --check: Parquet to write the bad images to, if there are any."
        ),
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
    from ..console import Console

    path, console = Path(what), Console(quiet, as_json)
    ways = {"--sql": sql is not None, "--images": images is not None, "--check": check}
    if sum(ways.values()) > 1:
        given = " and ".join(option for option, asked in ways.items() if asked)
        raise InputError(f"{given} each ask for something else of {path}; give one of them")
    for option, given, need in (
        ("--batch", batch, "--images"),
        ("--identity", identity, "--images"),
        ("--subspace", subspace, "--images"),
        ("--sample", sample, "--check"),
        ("--num-workers", num_workers, "--check"),
    ):
        if given is not None and not ways[need]:
            raise InputError(f"{option} says nothing without {need}; leave it out, or add that")
    if out is not None and not (check or images is not None):
        raise InputError("--out says nothing without --images or --check; leave it out, or add one of them")
    if images is not None:
        from ..montages.requested import MontageRequest

        if out is None:
            raise InputError("--images draws a picture; say where with --out FILE.png")
        return _draw(MontageRequest(path, images, out, batch, identity, subspace, overrides or []), console)
    if sql is not None:
        return _answer(path, sql, overrides or [], console)
    if check:
        return _check(path, console, sample=sample, num_workers=num_workers, out=out)
    return _summarize(what, [*(overrides or []), *([ALLOW_CODE] if allow_code else [])], console)


def _summarize(what: str, settings: list[str], console: Console) -> None:
    from ...mining.errors import InputError
    from ...mining.remote import in_words, is_url

    path = Path(what)
    if not path.exists():
        from ..inspection.network import names_network

        if names_network(what):
            from ..inspection.network import summarize_network

            return _show(summarize_network(what, settings), console)
    given = [setting for setting in settings if setting != ALLOW_CODE]
    if (path / "subspace.yaml").exists():
        from .runs import status

        return status(path, given, as_json=console.as_json)
    if given:
        raise InputError(
            f"{' '.join(given)}: settings go with a network, such as iresnet50, or a run, and {path} is neither"
        )
    if is_url(path):
        raise InputError(
            f"{in_words(path)}: only --check reads a manifest from a URL; copy it to a disk to see what it holds"
        )
    from ..inspection.on_terminal import say_first_line
    from ..inspection.summarize import summarize_path
    from ..inspection.without_pandas import leave_pandas_out

    leave_pandas_out()
    begun = False

    def begin(summary: Summary) -> None:
        nonlocal begun
        begun = True
        say_first_line(console, summary)

    return _show(summarize_path(path, None if console.as_json else begin), console, begun)


def _show(summary: Summary, console: Console, begun: bool = False) -> None:
    from ..inspection.on_terminal import say_summary

    if console.as_json:
        return console.result(summary.to_json())
    return say_summary(console, summary, begun)


def _draw(request: MontageRequest, console: Console) -> None:
    from ..console import counted
    from ..montages.requested import write_montage

    drawn = write_montage(request)
    console.result(drawn)
    bad = f"; {counted(len(drawn['unreadable']), 'image')} unreadable" if drawn["unreadable"] else ""
    console.say(f"{drawn['shows']}{bad}; written to {request.out}")


def _answer(path: Path, sql: str, overrides: list[str], console: Console) -> None:
    from ..inspection.on_terminal import say_table
    from ..querying.named_tables import tables_of
    from ..querying.query import answer_query

    manifest = None
    if (path / "subspace.yaml").exists():
        from ..configuration.config_file import load_config
        from ..configuration.overrides import kept_overrides
        from ..run_directory import RunDirectory

        run = RunDirectory(path)
        manifest = Path(load_config(run.config, [*kept_overrides(run, overrides), *overrides]).manifest)
    answer = answer_query(tables_of(path, manifest), sql, None if console.as_json else ROWS_SHOWN)
    if console.as_json:
        return console.result(answer.to_json())
    say_table(console, answer.cells(), answer.text_columns)
    if answer.more:
        console.say(f"the first {ROWS_SHOWN:,} rows; --json has all, and `limit` in the query asks for fewer")
    return None


def _check(path: Path, console: Console, **options: Any) -> None:
    from ...mining.machine import usable_cores
    from ..manifests.image_check import check_images

    if options["num_workers"] is None:
        options["num_workers"] = usable_cores()
    checked = check_images(path, console.progress, **options)
    for line in checked.lines():
        console.say(line)
    if options["out"] is not None and checked.bad.num_rows:
        console.say(f"  listed in {options['out']}")
    console.result(checked.to_json())


@commands.command(epilog="Example: subspace compare runs/random runs/subspace --out comparison.png")
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Two run folders or more.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Plot of the figure that decides, over training steps: a .png or .svg file."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Runs side by side: settings that differ, figures with intervals of start, best and last network, one plot.

    A run need not be finished. Figures of other test identities are shown, and said not to be comparable.
    """
    from ..comparison.compare_runs import show_comparison
    from ..console import Console

    show_comparison(runs, Console(quiet, as_json), out)

"""`subspace lr`: the learning rate of a run, found by short trials."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ...mining.local_paths import in_shell
from .parameters import AsJson, Device, DryRun, Overrides, Quiet, RunPath, working

commands = typer.Typer()


@commands.command(
    epilog="Example: subspace lr runs/photos --write; subspace lr runs/photos --rates 1e-4,1e-3,1e-2"
)
def lr(
    run: RunPath,
    overrides: Overrides = None,
    rates: Annotated[
        str | None,
        typer.Option(
            help="Rates to try, as 1e-4,3e-4,1e-3; by default a row a factor of 4 apart, then what lies beside the best."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=2, help="Steps of a trial; a twentieth of the run's by default, 100 to 500."),
    ] = None,
    write: Annotated[
        bool | None,
        typer.Option(
            "--write/--no-write", help="Keep the best rate as the run's; asked on a terminal by default."
        ),
    ] = None,
    device: Device = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Try learning rates from one start on the first batches of the run's plan; validation identities say which is best."""
    from ..faults.memory_advice import shortages_in_words
    from ..learning_rate.rates import parse_rates
    from ..learning_rate.search import SETTING, keep_rate, search_rates

    given = None if rates is None else parse_rates(rates)
    flags: dict[str, Any] = {"device": device, "dry_run": dry_run, "as_json": as_json, "quiet": quiet}
    with working(run, "lr", overrides, **flags) as context:
        with shortages_in_words("train", context.config):
            found = search_rates(context.at_round(0), given, steps)
        if found is None:
            context.options.console.result({"dry_run": True})
            return
        write = write if found.verdict.gains else False
        rate, before = found.verdict.best.rate, context.config.train.optimizer.lr
        if rate == before:
            context.say(f"{SETTING} is {before:g} already")
            write = False
        elif write is None and sys.stdin.isatty() and sys.stdout.isatty() and not (as_json or quiet):
            write = typer.confirm(f"{SETTING} is {before:g}; keep {rate:g} for this run?", default=True)
        if write:
            keep_rate(context.at_round(0), rate)
        context.options.console.result({**found.to_json(), "kept": bool(write) or rate == before})
        if not found.verdict.gains:
            longer = min(2 * found.steps, found.most_steps)
            context.say(
                f"next: subspace lr {in_shell(run)} --steps {longer}"
                if longer > found.steps
                else "next: a larger plan.steps"
            )
            return
        setting = "" if write or rate == before else f" {SETTING}={rate:g}"
        context.say(f"next: subspace run {in_shell(run)}{setting}")

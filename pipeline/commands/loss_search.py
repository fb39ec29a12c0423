"""`subspace search-loss`: a loss of a run, found by candidates that train side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from ...mining.local_paths import in_shell
from .parameters import (
    AsJson,
    Device,
    DryRun,
    Force,
    Overrides,
    Quiet,
    RunPath,
    working,
)

commands = typer.Typer()


@commands.command(
    name="search-loss",
    epilog="Example: subspace search-loss runs/photos --epochs 10 --candidates 8 --processes 2",
)
def search_loss(
    run: RunPath,
    overrides: Overrides = None,
    space: Annotated[
        str,
        typer.Option(help="am-lfs: t and tau, piecewise linear; search-softmax: one number, a margin."),
    ] = "am-lfs",
    bins: Annotated[int, typer.Option(min=1, max=100, help="Bins of t and of tau, for am-lfs.")] = 6,
    scale: Annotated[float, typer.Option(help="Factor s of the cosines, as softmax.scale.")] = 16.0,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs; the best weights of each begin the next.")] = 10,
    candidates: Annotated[int, typer.Option(min=1, help="Losses that are tried in each epoch.")] = 8,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of an epoch; by default the plan is shared out.")
    ] = None,
    sigma: Annotated[float, typer.Option(help="Deviation of the Gaussian.")] = 0.2,
    eta: Annotated[float, typer.Option(help="Step of the Gaussian's mean, by Adam.")] = 0.05,
    random: Annotated[
        bool, typer.Option("--random", help="Draw without learning: the baseline of the same space.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Candidates that train at a time, each in a process; one for each GPU.")
    ] = 1,
    shard: Annotated[int | None, typer.Option(min=0, hidden=True)] = None,
    num_shards: Annotated[int, typer.Option(min=1, hidden=True)] = 1,
    device: Device = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search a loss on the run's own plan; validation identities reward it. train.loss=searched:CURVE then trains with it."""
    import os

    from ...mining.errors import InputError
    from ...train.losses.building import check_loss
    from ..child_processes import PARENT, end_with_parent
    from ..faults.memory_advice import shortages_in_words
    from ..loss_search.request import Request
    from ..loss_search.search import search_loss as search
    from ..loss_search.search import setting_of

    if shard is not None and PARENT not in os.environ:
        raise InputError("--shard is for the processes that --processes starts; leave it out")
    request = Request.checked(
        space, bins=bins, scale=scale, epochs=epochs, candidates=candidates, steps=steps, sigma=sigma, eta=eta,
        learns=not random,
    )  # fmt: skip
    again = ["search-loss", str(run), f"--space={space}", f"--bins={bins}", f"--scale={scale}"]
    again += [f"--epochs={epochs}", f"--candidates={candidates}", f"--sigma={sigma}", f"--eta={eta}"]
    again += [f"--steps={steps}"] * (steps is not None) + ["--random"] * random
    with working(
        run, "search-loss", overrides, device=device, force=force, dry_run=dry_run, as_json=as_json, quiet=quiet,
        processes=processes,
    ) as context:  # fmt: skip
        if shard is not None:
            end_with_parent()
        part = None if shard is None else (shard, num_shards)
        with shortages_in_words("train", context.config, processes):
            found = search(context.at_round(0), request, again, part)
        if found is None:
            context.options.console.result({"dry_run": True})
            return
        context.options.console.result(found.to_json())
        context.say(f"next: subspace run {in_shell(run)} {in_shell(setting_of(found.curve))}")
        try:
            check_loss(setting_of(found.curve).partition("=")[2], context.config.train.loss_args)
        except InputError as error:
            context.say(f"before that: {error}")

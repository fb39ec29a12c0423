"""`subspace pretrain`, `extract`, `cluster`, `plan`, `train` and `eval`: one stage each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .parameters import (
    AsJson,
    Device,
    DryRun,
    Force,
    IfDue,
    Overrides,
    Processes,
    Quiet,
    Resume,
    Round,
    RunPath,
    is_over,
    working,
)

commands = typer.Typer()


@commands.command(epilog="Example: subspace pretrain runs/photos pretrain.steps=4000")
def pretrain(
    run: RunPath,
    overrides: Overrides = None,
    device: Device = None,
    processes: Processes = 1,
    force: Force = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make the starting network: classify the pretrain identities (pretrain.steps=0: take MODEL as it is)."""
    from ..stages.pretrain import pretrain as work

    flags: dict[str, Any] = {"device": device, "force": force, "resume": resume, "dry_run": dry_run}
    with working(run, "pretrain", overrides, **flags, as_json=as_json, quiet=quiet, processes=processes) as (
        directory,
        config,
        manifest,
        options,
    ):
        options.console.result(work(directory, config, manifest, options))


@commands.command(epilog="Example: subspace extract runs/photos --shard 0 --num-shards 8")
def extract(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    if_due: IfDue = False,
    shard: Annotated[
        int | None, typer.Option(min=0, help="Do only every --num-shards-th part, from this one.")
    ] = None,
    num_shards: Annotated[int, typer.Option(min=1, help="Number of shards.")] = 1,
    device: Device = None,
    processes: Processes = 1,
    force: Force = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Embed the training images with the current network and average them by identity."""
    from ..child_processes import end_with_parent
    from ..stages.extract import extract as work
    from ..stages.extract_parts import Shard

    end_with_parent()
    part = None if shard is None else Shard(shard, num_shards)
    flags: dict[str, Any] = {"device": device, "force": force, "resume": resume, "dry_run": dry_run}
    flags |= {"as_json": as_json, "quiet": quiet, "processes": processes}
    with working(run, "extract", overrides, **flags, lock=part is None) as (
        directory,
        config,
        manifest,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        if not (if_due and is_over(directory, config, options, index)):
            options.console.result(work(directory, config, manifest, options, round_index=index, shard=part))


@commands.command(epilog="Example: subspace cluster runs/photos cluster.ids_per_subspace=5000")
def cluster(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    if_due: IfDue = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Cluster the identity means into subspaces of look-alikes, and print how many neighbours stay together."""
    from ..stages.cluster import cluster as work

    with working(run, "cluster", overrides, force=force, dry_run=dry_run, as_json=as_json, quiet=quiet) as (
        directory,
        config,
        _,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        if not (if_due and is_over(directory, config, options, index)):
            options.console.result(work(directory, config, options, round_index=index))


@commands.command(
    epilog="Example: subspace plan runs/photos plan.strategy=doppelganger plan.random_fraction=0.25; "
    "subspace plan runs/photos --list-shards | awk '$1 == 7 {print $2}'"
)
def plan(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    if_due: IfDue = False,
    list_shards: Annotated[
        bool,
        typer.Option(
            "--list-shards", help="Only list subspace, shard and images in it, tab-separated, for staging."
        ),
    ] = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the batches of a round, one Parquet row each, and print how much harder they are than random ones."""
    from ..stages.plan import list_shards as shards
    from ..stages.plan import plan as plan_round

    flags: dict[str, Any] = {"force": force, "dry_run": dry_run, "as_json": as_json, "quiet": quiet}
    with working(run, "plan", overrides, **flags, lock=not list_shards) as (
        directory,
        config,
        manifest,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        work = shards if list_shards else plan_round
        if not (if_due and is_over(directory, config, options, index)):
            options.console.result(work(directory, config, manifest, options, round_index=index))


@commands.command(epilog="Example: subspace train runs/photos train.precision=bf16-mixed --device cuda")
def train(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    if_due: IfDue = False,
    device: Device = None,
    processes: Processes = 1,
    force: Force = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train one round on its plan; continues from the last saved step."""
    from ..stages.train import train as work

    flags: dict[str, Any] = {"device": device, "force": force, "resume": resume, "dry_run": dry_run}
    with working(run, "train", overrides, **flags, as_json=as_json, quiet=quiet, processes=processes) as (
        directory,
        config,
        manifest,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        if not (if_due and is_over(directory, config, options, index)):
            options.console.result(work(directory, config, manifest, options, round_index=index))


@commands.command(
    name="eval", epilog="Example: subspace eval runs/photos; subspace eval runs/photos/round-001/checkpoint"
)
def evaluate(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|CHECKPOINT", help="Run folder, or a checkpoint in or outside one.")
    ],
    overrides: Overrides = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest to test a CHECKPOINT on; its own run's unless told.")
    ] = None,
    device: Device = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Rank-k with distractors and TAR@FAR on the test identities, with 95 % intervals."""
    from ...mining.errors import InputError
    from ..stages.evaluate import evaluate_checkpoint, evaluation_table

    if (path / "meta.json").exists():
        from ...mining.manifest import Manifest
        from ...train.checkpoint_meta import read_meta
        from ..config import parse_config
        from ..console import Console
        from ..stages.held_out import HeldOut
        from ..stages.stage import Options

        options = Options(Console(quiet, as_json), device)
        config = parse_config(read_meta(path).config, overrides or [], where=f"{path}/meta.json")
        opened = Manifest.open(manifest or config.manifest)
        if dry_run:
            HeldOut.test(config).choose_images(opened)  # says what would be wrong
            options.console.say(f"would evaluate {path} on {opened.path}; dry run: nothing was done")
            return
        results = {str(path): evaluate_checkpoint(path, config, opened, options)}
    else:
        from ..rounds import evaluate_rounds

        if manifest is not None:
            raise InputError(
                f"--manifest goes with a CHECKPOINT; {path} is a run, whose manifest is in subspace.yaml"
            )
        with working(
            path, "eval", overrides, device=device, force=force, dry_run=dry_run, as_json=as_json, quiet=quiet
        ) as (directory, config, opened, options):
            results = evaluate_rounds(directory, config, opened, options)
    if results:
        options.console.say(evaluation_table(results))
    options.console.result(results)

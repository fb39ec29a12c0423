"""The stage commands, made from the table of stages."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from ..stages.graph import STAGES, StageRow, Switch
from .parameters import (
    AsJson,
    Device,
    DryRun,
    Force,
    IfDue,
    NumShards,
    Overrides,
    Processes,
    Quiet,
    Resume,
    Round,
    RunPath,
    ShardIndex,
    is_over,
    working,
)

commands = typer.Typer()

FLAGS = ("device", "processes", "force", "resume", "dry_run", "as_json", "quiet")
"""Parameters of a command that `working` takes as they are."""


def add_command(stage: StageRow) -> None:
    """Add the command of a stage to `commands`."""
    command = _command(stage)
    parameters = list(_parameters(stage))
    command.__name__, command.__doc__ = stage.name, stage.help
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]  # typer reads it
    commands.command(name=stage.name, epilog=f"Example: subspace {stage.name} runs/photos {stage.example}")(
        command
    )


def _command(stage: StageRow) -> Callable[..., None]:
    def command(run: Path, overrides: list[str] | None = None, **given: Any) -> None:
        switch = next((switch for switch in stage.switches if given[switch.name]), None)
        shard = given.get("shard")
        arguments: dict[str, Any] = {}
        if stage.shards:
            from ..child_processes import end_with_parent
            from ..stages.parts import Shard

            end_with_parent()
            arguments["shard"] = Shard.asked(shard, given["num_shards"])
        flags = {name: given[name] for name in FLAGS if name in given}
        lock, announce = shard is None and switch is None, switch is None
        with working(
            run, stage.name, overrides, **flags, lock=lock, shard=shard is not None, announce=announce
        ) as context:
            index = given.get("round_index")
            if stage.place == "start":
                index = -1
            elif index is None:
                index = context.run.latest_round
            context = context.at_round(index)
            if given.get("if_due") and is_over(context):
                return
            done = stage.function(switch.work)(context) if switch else stage.do(context, **arguments)
            context.options.console.result(done)

    return command


def _parameters(stage: StageRow) -> list[Parameter]:
    """What the command takes, as typer reads it from a signature."""
    resumes = stage.trains or stage.shards
    wanted = [
        ("run", RunPath, Parameter.empty, True),
        ("overrides", Overrides, None, True),
        ("round_index", Round, None, stage.place == "round"),
        ("if_due", IfDue, False, stage.place == "round"),
        *((switch.name, _flag(switch), False, True) for switch in stage.switches),
        ("shard", ShardIndex, None, stage.shards),
        ("num_shards", NumShards, 1, stage.shards),
        ("device", Device, None, stage.on_device),
        ("processes", Processes, 1, resumes),
        ("force", Force, False, True),
        ("resume", Resume, True, resumes),
        ("dry_run", DryRun, False, True),
        ("as_json", AsJson, False, True),
        ("quiet", Quiet, False, True),
    ]
    return [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, annotation, default, there in wanted
        if there
    ]


def _flag(switch: Switch) -> Any:
    return Annotated[bool, typer.Option(f"--{switch.name.replace('_', '-')}", help=switch.help)]


for _stage in STAGES:
    if _stage.place != "network":  # those are examined together, by `subspace eval`
        add_command(_stage)

"""The stage commands are made from the table of stages. Covers pipeline/commands/parameters.py as well."""

from __future__ import annotations

from inspect import signature

import pytest
import typer

from subspace.pipeline.commands.stages import commands
from subspace.pipeline.stages.graph import STAGES, StageRow

MADE = [stage for stage in STAGES if stage.place != "network"]


def parameters(stage: StageRow) -> set[str]:
    (command,) = [info.callback for info in commands.registered_commands if info.name == stage.name]
    assert command is not None
    return set(signature(command).parameters)


@pytest.mark.parametrize("stage", MADE, ids=lambda stage: stage.name)
def test_a_command_takes_what_its_row_says(stage: StageRow) -> None:
    has = parameters(stage)
    assert {"run", "overrides", "force", "dry_run", "as_json", "quiet"} <= has
    assert ({"round_index", "if_due"} <= has) == (stage.place == "round")
    assert ({"shard", "num_shards"} <= has) == stage.shards
    assert ("processes" in has) == ("resume" in has) == (stage.trains or stage.shards)
    assert ("device" in has) == stage.on_device
    assert {switch.name for switch in stage.switches} <= has


def test_the_options_are_those_that_scripts_use() -> None:
    """By name, since people's scripts hold them."""
    group = typer.main.get_command(_app())
    options = {
        name: sorted(word for option in command.params for word in option.opts if word.startswith("--"))
        for name, command in group.commands.items()  # pyright: ignore[reportAttributeAccessIssue]
    }
    common = ["--dry-run", "--force", "--json", "--quiet"]
    assert options["pretrain"] == sorted([*common, "--device", "--processes", "--resume"])
    assert options["cluster"] == sorted([*common, "--device", "--if-due", "--round"])
    assert options["plan"] == sorted([*common, "--device", "--if-due", "--round", "--list-shards"])
    assert options["train"] == sorted([*common, "--device", "--if-due", "--processes", "--resume", "--round"])
    assert options["extract"] == sorted([*options["train"], "--num-shards", "--shard"])


def _app() -> typer.Typer:
    return commands

"""`subspace eval` keeps the options that people's scripts hold."""

from __future__ import annotations

import typer

from subspace.pipeline.commands.evaluation import commands

BEFORE_PROTOCOLS = {"--allow-code", "--device", "--dry-run", "--force", "--json", "--manifest", "--quiet"}
OF_PROTOCOLS = {
    "--flip", "--gallery", "--metrics", "--out", "--pairs", "--protocol", "--query", "--rerank", "--root", "--templates",
    "--threshold",
}  # fmt: skip


def test_the_options_are_those_that_scripts_use() -> None:
    command = typer.main.get_command(commands)
    words = (word for option in command.params for word in option.opts if word.startswith("--"))
    options = {word for word in words if "completion" not in word}  # typer's own, of a group alone
    assert options == BEFORE_PROTOCOLS | OF_PROTOCOLS

"""`subspace doctor`: this machine and what is installed on it."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import AsJson

commands = typer.Typer()


@commands.command(epilog="Example: subspace doctor --quick")
def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the short runs on each device, which take seconds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at this machine: versions, GPUs, decoder, memory, speed; a line of advice where something is wrong or slow."""
    from ...mining.errors import InputError
    from ..console import Console
    from ..doctor.diagnosis import diagnose, refusal
    from ..doctor.finding import as_json as to_json

    console, findings = Console(as_json=as_json), []
    for finding in diagnose(quick):
        findings.append(finding)
        console.say_lines("\n".join(finding.lines()))
    console.result(to_json(findings))
    why = refusal(findings)
    if why is not None:
        raise InputError(why)

"""What the commands share: their options, and the run, settings and manifest that most of them begin with.

Heavy imports happen inside the functions, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...mining.manifest import Manifest
    from ..config import RunConfig
    from ..run_directory import RunDirectory
    from ..stages.stage import Options

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, made by `subspace init`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings over those of RUN/subspace.yaml."),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; the fastest there is unless told.")
]
Force = Annotated[bool, typer.Option("--force", help="Make it again even if it is done or stale.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Continue unfinished work, or drop it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Processes that train together, as by torchrun on one machine, and extract side by side; one for each GPU.",
    ),
]
Round = Annotated[
    int | None, typer.Option("--round", min=0, help="Round to work on; the latest unless told.")
]
IfDue = Annotated[
    bool,
    typer.Option(
        "--if-due", help="Do nothing where the run is over before that round; for jobs submitted ahead."
    ),
]


def is_over(run: RunDirectory, config: RunConfig, options: Options, round_index: int) -> bool:
    """Whether a round is not due any more, which is said."""
    from ..due import over_before

    why = over_before(run, config, round_index)
    if why is not None:
        options.console.say(f"{why}: nothing is left to do")
    return why is not None


@contextmanager
def working(
    path: Path,
    command: str,
    overrides: list[str] | None,
    *,
    device: str | None = None,
    force: bool = False,
    remake_stale: bool = False,
    resume: bool = True,
    dry_run: bool = False,
    as_json: bool = False,
    quiet: bool = False,
    lock: bool = True,
    processes: int = 1,
) -> Iterator[tuple[RunDirectory, RunConfig, Manifest, Options]]:
    """Everything a stage command needs: run, settings, manifest, options; the run locked, signals heard.

    Of several processes that torchrun started, the first holds the lock and speaks; of those that `--processes`
    started, the parent holds it.
    """
    import os
    from contextlib import nullcontext

    from ...mining.errors import InputError
    from ...mining.manifest import Manifest
    from ..child_processes import PARENT
    from ..config import load_config
    from ..console import Console
    from ..run_directory import RunDirectory
    from ..stages.stage import Options, StopRequest

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and processes > 1:
        raise InputError(
            f"--processes {processes} was given to one of {os.environ['WORLD_SIZE']} processes that a launcher started "
            "(WORLD_SIZE is set); leave it to the launcher how many there are"
        )
    if several and command not in ("train", "pretrain"):
        raise InputError(
            f"`subspace {command}` was started in several processes, but only train and pretrain meet the others; "
            f"start it once{', with --processes' if command in ('run', 'extract') else ''}"
        )
    run = RunDirectory(path)
    config = load_config(run.config, overrides or [])
    first = os.environ.get("RANK", "0") == "0"
    options = Options(
        Console(quiet or not first, as_json and first),
        device,
        force,
        remake_stale,
        resume,
        dry_run,
        StopRequest(hurries=not several),
        processes=processes,
        overrides=tuple(overrides or ()),
    )
    lock = lock and not dry_run and first and PARENT not in os.environ
    with run.locked(command) if lock else nullcontext(), options.stop.listening():
        yield run, config, Manifest.open(config.manifest), options

"""What the commands share: their options, and the run, settings and manifest that most of them begin with.

Heavy imports happen inside the functions, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from ..stages.graph import STAGES

if TYPE_CHECKING:
    from ..signals import StopRequest
    from ..stages.context import Context

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, made by `subspace init`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings over those of RUN/subspace.yaml; ~KEY takes one that was kept back.",
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; the fastest there is by default.")
]
Force = Annotated[bool, typer.Option("--force", help="Make it again even if it is done or stale.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Continue unfinished work, or drop it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Call the python: function that a checkpoint names; see SECURITY.md."),
]
ALLOW_CODE = "allow_code=true"
"""The setting that `--allow-code` gives a run."""
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Processes that train together, as by torchrun on one machine, and extract side by side; one for each GPU.",
    ),
]
Round = Annotated[int | None, typer.Option("--round", min=0, help="Round to work on; the latest by default.")]
ShardIndex = Annotated[
    int | None, typer.Option("--shard", min=0, help="Do only every --num-shards-th part, from this one.")
]
NumShards = Annotated[int, typer.Option("--num-shards", min=1, help="Number of shards.")]
IfDue = Annotated[
    bool,
    typer.Option(
        "--if-due", help="Do nothing where the run is over before that round; for jobs submitted ahead."
    ),
]


class EachOnce(TyperCommand):
    """A command that refuses an option of one value that is given again: all but the last would be dropped without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As `TyperCommand` has it."""
        *_, given = self.make_parser(ctx).parse_args(args=list(args))
        left = super().parse_args(ctx, args)
        for option in dict.fromkeys(given):
            one_value = isinstance(option, TyperOption) and not (option.is_flag or option.multiple)
            if one_value and (times := given.count(option)) > 1:
                ctx.fail(
                    f"{option.opts[0]} is given {times} times and takes one value; leave all but one out, or run the command "
                    "once for each"
                )
        return left


def is_over(context: Context) -> bool:
    """Whether a round is not due any more; says so."""
    from ..due import over_before

    why = over_before(context)
    if why is not None:
        context.say(f"{why}: nothing is left to do")
    return why is not None


@contextmanager
def stoppable(*modules: str, stop: StopRequest | None = None) -> Iterator[None]:
    """Signals heard where no run is at work: what is inside ends in one line, exit code 4, and leaves nothing half-written.

    Args:
        modules: are imported first: in the middle of native code a signal would end in a library's own traceback.
        stop: hears them; None: nobody else asks.
    """
    from importlib import import_module

    from ..signals import StopRequest

    stop = stop or StopRequest()
    with stop.listening():
        for module in modules:
            stop.hold(lambda module=module: import_module(module))
        yield


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
    shard: bool = False,
    processes: int = 1,
    announce: bool = True,
    needs_manifest: bool = True,
) -> Iterator[Context]:
    """What a command needs: run, settings, manifest, options; the run locked, signals heard.

    Of several processes that torchrun started, the first holds the lock and speaks; of those that `--processes`
    started, the parent holds it. Settings that earlier commands were given are in force too, and said unless `announce` is
    off, as for output that is data. The settings of a `shard` are kept as others are, though it holds no lock. Without
    `needs_manifest` a run is looked at whose manifest is gone.
    """
    import os
    from contextlib import nullcontext

    from ...mining.artifacts import in_place
    from ...mining.errors import InputError
    from ..child_processes import PARENT
    from ..configuration.overrides import TAKE_BACK, keep_overrides, not_kept, with_whole_paths
    from ..console import Console
    from ..options import Options
    from ..run_directory import RunDirectory
    from ..schedulers.job_requests import check_requests
    from ..schedulers.submission import scheduled_before, submitted_with
    from ..signals import StopRequest
    from ..stages.context import Context

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and processes > 1:
        raise InputError(
            f"--processes {processes} was given to one of {os.environ['WORLD_SIZE']} processes that a launcher started "
            "(WORLD_SIZE is set); leave it to the launcher how many there are"
        )
    if several and not any(stage.trains for stage in STAGES if stage.command_name == command):
        raise InputError(
            f"`subspace {command}` was started in several processes, but only train and pretrain meet the others; "
            f"start it once{', with --processes' if command in ('run', 'extract') else ''}"
        )
    first, child = os.environ.get("RANK", "0") == "0", PARENT in os.environ
    run, given = RunDirectory(path), with_whole_paths(overrides or [])
    again = scheduled_before(run, given) if command == "submit" else []
    given = [*again, *given]
    console = Console(quiet or not first, as_json and first)
    works = not dry_run and first and not child
    lock = lock and works

    to_keep = list(given)

    def keep() -> None:
        if new := keep_overrides(run, to_keep):
            console.say(f"kept for the next commands of this run: {' '.join(new)} ({run.overrides})")
        # What is taken back is so once: the same setting that is kept since, as by `lr --write`, stays.
        to_keep[:] = [word for word in to_keep if not word.startswith(TAKE_BACK)]

    keeps = lock or (works and (shard or command == "submit"))
    options = Options(
        console,
        device,
        force,
        remake_stale,
        resume,
        dry_run,
        StopRequest(hurries=not several),
        processes=processes,
        overrides=tuple(given),
        on_work=keep if keeps else lambda: None,
    )
    # Runs that were submitted by a version that kept no settings have them in their submission alone.
    submitted = submitted_with(run, given)
    context = Context.open(path, [*submitted, *given], options, needs_manifest=needs_manifest)
    check_requests(context.config.schedule)
    earlier = [*context.kept, *submitted, *again]
    if earlier and announce and not child:
        console.say(f"settings given earlier: {' '.join(earlier)} ({run.path})")
    if announce and not child and (nothing := not_kept(run, given)):
        console.say(f"nothing was kept that could be taken back: {' '.join(nothing)}")
    with run.locked(command) if lock else nullcontext(), in_place(path), options.stop.listening():
        yield context
        options.on_work()  # all that was asked is done with these settings

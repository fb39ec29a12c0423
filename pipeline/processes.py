"""Several processes of one command that train together: started here, or by torchrun or Slurm.

`subspace train RUN --processes 4` is a parent that holds the run's lock, starts four children of the same command,
passes signals on and waits. Under torchrun there is no parent of ours; process 0 holds the lock.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from ..mining.artifacts import read_json
from ..mining.errors import StaleArtifactError, StoppedEarly
from ..train import distributed
from .stage import Options, Stage, run_stage

PARENT = "SUBSPACE_PARENT"
"""Environment variable: the process that started this one as one of several, and holds the run's lock."""
GRACE = 15.0
"""Seconds that processes get to end by themselves once another one has failed."""


def run_stage_together(
    stage: Stage, options: Options, estimate: Callable[[], str], work: Callable[[], dict[str, Any] | None]
) -> dict[str, Any]:
    """`run_stage`, with all processes at its work where this one is one of several.

    Process 0 looks whether there is anything to do, and writes the marker; the others only work.
    """
    with distributed.joined():
        begun = False

        def work_with_the_others() -> dict[str, Any] | None:
            nonlocal begun
            begun = True
            distributed.agree(True)
            return work()

        if distributed.rank():
            if distributed.agree(False)[0]:
                work()
            return {}
        try:
            return run_stage(stage, options, estimate, work_with_the_others)
        finally:
            if not begun:
                distributed.agree(False)


def train_together(stage: Stage, arguments: list[str], options: Options) -> dict[str, Any]:
    """Do a stage in `options.processes` processes that are started for it, unless it is done.

    Args:
        arguments: of the command that does the stage.
    """
    remake = options.force or (options.remake_stale and _is_stale(stage))
    if options.dry_run or (not remake and stage.is_done()):
        return run_stage(stage, options, lambda: f"in {options.processes} processes", lambda: None)
    flags = {
        f"--device={options.device}": options.device is not None,
        "--force": remake,
        "--no-resume": not options.resume,
        "--quiet": options.console.quiet,
    }
    given = [flag for flag, wanted in flags.items() if wanted]
    start_together([*arguments, *given, *options.overrides], options.processes, options)
    return read_json(stage.marker)


def _is_stale(stage: Stage) -> bool:
    try:
        stage.is_done()
    except StaleArtifactError:
        return True
    return False


def python_calling(module: str) -> list[str]:
    """A command that calls `main()` of a module, with the very import path of this process; arguments may follow.

    `-m` would look in the current folder first, where a user may have modules of the same names.
    """
    begin = (
        f"import sys; sys.path[:] = sys.argv.pop(1).split({os.pathsep!r}); from {module} import main; main()"
    )
    return [sys.executable, "-c", begin, os.pathsep.join(sys.path)]


def orphaned() -> bool:
    """Whether the parent that started this process is gone, and its lock with it."""
    return PARENT in os.environ and os.getppid() != int(os.environ[PARENT])


def start_together(arguments: list[str], count: int, options: Options) -> None:
    """Run `subspace ARGUMENTS` in `count` processes, and return when all have ended well.

    Process 0 speaks for all; what another one writes to standard error is shown if that one failed.

    Raises:
        SystemExit: one of them ended with an error of its own, said on standard error; with its exit code.
        StoppedEarly: one of them was killed; or a signal came, and all have saved and stopped.
    """
    children: list[subprocess.Popen[bytes]] = []
    words: list[IO[bytes] | None] = []
    stop = options.stop
    stop.graceful = True
    port = free_port()
    try:
        for rank in range(count):
            words.append(tempfile.TemporaryFile() if rank else None)  # noqa: SIM115  (closed below)
            children.append(_start(arguments, rank, count, port, words[-1], options))
        codes = _wait(children, options)
        _tell(codes, words, stop.name)
    finally:
        stop.graceful = False
        for child in children:
            _kill(child)  # with the loader processes that a killed one may have left
        for text in words:
            if text is not None:
                text.close()


def _start(
    arguments: list[str], rank: int, count: int, port: int, words: IO[bytes] | None, options: Options
) -> subprocess.Popen[bytes]:
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    return subprocess.Popen(
        [*python_calling("subspace.pipeline.cli"), *arguments],
        env={
            "OMP_NUM_THREADS": str(threads),
            "TORCH_CPP_LOG_LEVEL": "ERROR",  # DistributedDataParallel warns of a flag that is meant
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            PARENT: str(os.getpid()),
        },
        stdout=sys.stderr if options.console.as_json or rank else None,
        stderr=words,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which passes it on once
    )


def _wait(children: list[subprocess.Popen[bytes]], options: Options) -> list[int]:
    """Exit codes of all, negative for signals; once one has failed the others get `GRACE` seconds."""
    passed_on, failed_at = False, None
    while any(child.poll() is None for child in children):
        if options.stop.name and not passed_on:
            passed_on = True
            for child in children:
                child.send_signal(signal.SIGTERM)
        failed = [
            child.returncode
            for child in children
            if child.returncode not in (None, 0, StoppedEarly.exit_code)
        ]
        if failed and failed_at is None:
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE:
            for child in children:
                if child.poll() is None:
                    child.kill()
        time.sleep(0.05)
    return [child.returncode for child in children]


def _tell(codes: list[int], words: list[IO[bytes] | None], stopped_by: str | None) -> None:
    """Return if all went well; otherwise end as the first that failed did."""
    if not any(codes):
        return
    own_errors = [rank for rank, code in enumerate(codes) if code > 0 and code != StoppedEarly.exit_code]
    killed = [rank for rank, code in enumerate(codes) if code < 0]
    for rank in own_errors[:1]:
        _repeat(words[rank])
        raise SystemExit(codes[rank])
    if killed and not stopped_by:
        name = signal.Signals(-codes[killed[0]]).name
        raise StoppedEarly(
            f"process {killed[0]} of {len(codes)} was killed ({name}), and the others were stopped; run the same command "
            "to continue from the last save"
        )
    if codes[0] < 0:  # the signal came before it could handle any, and it has said nothing
        raise StoppedEarly(f"stopped by {stopped_by}; run the same command to continue")
    raise SystemExit(StoppedEarly.exit_code)


def _repeat(words: IO[bytes] | None) -> None:
    if words is not None:
        words.seek(0)
        sys.stderr.write(words.read().decode(errors="replace"))


def _kill(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

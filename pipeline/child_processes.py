"""Child processes of one command, started and stopped together.

Their parent holds the run's lock, passes signals on once and waits. They train as one (`train_together`), or each extracts
other parts (`extract_together`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from ..mining.errors import StoppedEarly
from ..mining.machine import usable_cores
from .options import Options
from .terminal_text import printable

PARENT = "SUBSPACE_PARENT"
"""Environment variable: the process that started this one as one of several, and holds the run's lock."""
GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that put a process into a group of torch.distributed."""
CONTACT_LOST = 104
"""Exit code of one that lost contact with another, and says nothing: its parent knows more, and says the cause once."""
GRACE = 15.0
"""Seconds that processes which train together get to end by themselves once another one has failed."""
PARENT_LOOKED_AFTER_EVERY = 0.2
"""Seconds between looks for a parent that is gone."""


@dataclass(frozen=True)
class Child:
    """A `subspace ARGUMENTS` to be started."""

    arguments: Sequence[str]
    threads: int
    """OMP_NUM_THREADS, unless the environment sets it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it has besides the environment of its parent."""
    speaks: bool = False
    """For all of them; what others write to standard error is shown only if they failed."""


def threads_each(count: int) -> int:
    """The threads of each of `count` processes that share this machine's cores."""
    return max(1, usable_cores() // count)


def this_program() -> list[str]:
    """A command that is `subspace` with the very import path of this process; arguments may follow.

    `-m` would look in the current folder first, where a user may have modules of the same names.
    """
    begin = f"import sys; sys.path[:] = sys.argv.pop(1).split({os.pathsep!r}); from subspace.pipeline.cli import main; main()"
    return [sys.executable, "-c", begin, os.pathsep.join(sys.path)]


def orphaned() -> bool:
    """Whether the parent that started this process is gone, and its lock with it."""
    return PARENT in os.environ and os.getppid() != int(os.environ[PARENT])


def end_with_parent() -> None:
    """End this process as soon as the parent that started it is gone, even killed; without such a parent do nothing.

    Nobody must write into a run that is free. For work that resumes wherever it ends; other work asks `orphaned`
    between its steps, and saves.
    """
    if PARENT in os.environ:
        threading.Thread(target=_end_orphaned, daemon=True).start()


def _end_orphaned() -> None:
    while not orphaned():
        time.sleep(PARENT_LOOKED_AFTER_EVERY)
    os._exit(StoppedEarly.exit_code)


def run_children(
    children: Sequence[Child],
    options: Options,
    watch: Callable[[], None] = lambda: None,
    *,
    grace: float = GRACE,
) -> None:
    """Start the children at once, and return when all have ended well; none outlives this call.

    Args:
        watch: called many times a second while they are at work.
        grace: seconds that the others get to end by themselves once one has failed.

    Raises:
        SystemExit: one of them ended with an error of its own, said on standard error; with its exit code.
        StoppedEarly: one of them was killed; or a signal came, and all have saved and stopped.
    """
    started: list[subprocess.Popen[bytes]] = []
    words: list[IO[bytes] | None] = []
    stop = options.stop
    stop.graceful = True
    try:
        for child in children:
            words.append(None if child.speaks else tempfile.TemporaryFile())  # noqa: SIM115  (closed below)
            started.append(_start(child, words[-1], options))
        codes = _wait(started, options, watch, grace)
        _tell(codes, words, stop.name)
    finally:
        stop.graceful = False
        for process in started:
            _kill(process)  # its loader processes end by themselves
        for text in words:
            if text is not None:
                text.close()


def _start(child: Child, words: IO[bytes] | None, options: Options) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*this_program(), *child.arguments],
        env={
            "OMP_NUM_THREADS": str(child.threads),
            "TORCH_CPP_LOG_LEVEL": "ERROR",  # DistributedDataParallel warns of a flag that is meant
            **{name: value for name, value in os.environ.items() if name not in GROUP},
            **child.environment,
            PARENT: str(os.getpid()),
        },
        stdout=None if child.speaks and not options.console.as_json else sys.stderr,
        stderr=words,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which passes it on once
    )


def _wait(
    processes: list[subprocess.Popen[bytes]], options: Options, watch: Callable[[], None], grace: float
) -> list[int]:
    """Exit codes of all, negative for signals; that of `StoppedEarly` for those killed since another one has failed."""
    passed_on, failed_at = False, None
    stopped: list[subprocess.Popen[bytes]] = []
    while any(process.poll() is None for process in processes):
        if options.stop.name and not passed_on:
            passed_on = True
            for process in processes:
                process.send_signal(signal.SIGTERM)
        failed = [
            process.returncode
            for process in processes
            if process.returncode not in (None, 0, StoppedEarly.exit_code, CONTACT_LOST)
        ]
        if failed and failed_at is None:
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at >= grace:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    stopped.append(process)
        watch()
        time.sleep(0.05)
    return [StoppedEarly.exit_code if process in stopped else process.returncode for process in processes]


def _tell(codes: list[int], words: list[IO[bytes] | None], stopped_by: str | None) -> None:
    """Return if all went well; otherwise end as the first that failed did."""
    if not any(codes):
        return
    own_errors = [
        number
        for number, code in enumerate(codes)
        if code > 0 and code not in (StoppedEarly.exit_code, CONTACT_LOST)
    ]
    killed = [number for number, code in enumerate(codes) if code < 0]
    for number in own_errors[:1]:
        _repeat(words[number])
        raise SystemExit(codes[number])
    if killed and not stopped_by:
        name = signal.Signals(-codes[killed[0]]).name
        raise StoppedEarly(
            f"process {killed[0]} of {len(codes)} was killed ({name}), and the others were stopped; run the same command "
            "to continue from what is saved"
        )
    if stopped_by and (
        codes[0] < 0 or codes[0] == CONTACT_LOST or words[0] is not None
    ):  # process 0 has not said it
        raise StoppedEarly(f"stopped by {stopped_by}; run the same command to continue")
    saying = [number for number, code in enumerate(codes) if code == StoppedEarly.exit_code]
    if not saying:
        raise StoppedEarly(
            "the processes lost contact with each other; run the same command to continue from the last save"
        )
    _repeat(words[saying[0]])
    raise SystemExit(StoppedEarly.exit_code)


def _repeat(words: IO[bytes] | None) -> None:
    if words is not None:
        words.seek(0)
        sys.stderr.write(printable(words.read().decode(errors="replace")))


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return

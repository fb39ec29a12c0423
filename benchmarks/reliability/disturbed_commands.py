"""`subspace` commands with an accident: forked from a process that has imported all of it, each a process of its own.

`accidents.c`, loaded before the C library, counts what a command writes and does at a given count what a power cut, a
signal, a full or a broken disk would do. Nothing of the product knows of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NoReturn

PATIENCE = 300.0
"""Seconds after which a command hangs; a busy machine needs many."""
PROGRESS = re.compile(r"^[\w ,.-]+: [\d,]+(/[\d,]+)? \w+, [\d.,]+/s.*\n", re.MULTILINE)
STARTING = "ended while Python itself began"
"""Before the first line of any program; Python says so in its own words."""
_ASKING = Lock()


@dataclass(frozen=True)
class Accident:
    """What happens to a command, and at which of the writes it does in its run."""

    at: int = 0
    """Counted from 1; 0: never."""
    signal: int = 0
    error: int = 0
    """An errno; a full disk (ENOSPC) stays full, any other is met once."""
    renamed: tuple[str, str] = ("", "")
    """A folder of the machine that gets another name."""
    clock: tuple[int, int] = (0, 0)
    """At each so-manieth look at the clock it is set back by so many seconds."""


NONE = Accident()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    """None: it hung and was killed by the campaign; negative: the signal that ended it."""
    errors: str
    seconds: float
    writes: tuple[str, ...]
    """What it did in its run, one by one: the call and the path."""

    @property
    def words(self) -> str:
        """The end in few words, the same for equal ends."""
        if self.code is None:
            return "hung"
        if self.code == 130 and not self.errors:
            return "exit 130"
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        if "Failed to import the site module" in self.errors:
            return STARTING
        if "Traceback" in self.errors:
            return f"exit {self.code} with a traceback"
        lines = len([line for line in self.errors.splitlines() if not line.startswith("warning: ")])
        return f"exit {self.code}" + ("" if not self.code or lines == 1 else f" with {lines} lines")

    @property
    def is_clean(self) -> bool:
        """Whether it ended as a command may: done or killed, or refused in one line."""
        wanted = ("exit 0", "exit 2", "exit 3", "exit 4", STARTING)
        by_signal = bool(self.code and (self.code < 0 or self.code == 130))  # 130: what a shell calls SIGINT
        return self.words in wanted or (by_signal and not self.errors)


class Running:
    """A command at work."""

    def __init__(self, said: Path) -> None:
        self._said, self._started = said, time.monotonic()
        while not (said / "pid").exists():
            time.sleep(0.002)
        self.pid = int((said / "pid").read_text())

    @property
    def has_ended(self) -> bool:
        """Whether its exit code is there."""
        return (self._said / "exit").exists()

    def send(self, number: int) -> None:
        """Send a signal to the command alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait_until(self, holds: Callable[[], object]) -> bool:
        """Wait for something or for the end of the command; return whether it is still at work."""
        while not holds() and not self.has_ended and time.monotonic() - self._started < PATIENCE:
            time.sleep(0.005)
        return not self.has_ended

    def end(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end; what lasts longer than `patience` seconds is killed."""
        began = time.monotonic()
        while not self.has_ended and time.monotonic() - began < patience:
            time.sleep(0.01)
        hung, seconds = not self.has_ended, time.monotonic() - self._started
        with contextlib.suppress(ProcessLookupError):  # loader workers that outlive a killed command, too
            os.killpg(self.pid, signal.SIGKILL)
        while not self.has_ended:
            time.sleep(0.01)
        code = None if hung else int((self._said / "exit").read_text())
        ended = Ended(
            code,
            PROGRESS.sub("", (self._said / "stderr").read_text(errors="replace")),
            seconds,
            tuple((self._said / "writes").read_text().splitlines()),
        )
        shutil.rmtree(self._said)
        return ended


def begin(arguments: Sequence[object], counted: Path, accident: Accident = NONE) -> Running:
    """Begin `subspace ARGUMENTS` with an accident at a write below the folder `counted`."""
    said = Path(tempfile.mkdtemp(prefix="command-"))
    request = {
        "arguments": [str(argument) for argument in arguments],
        "counted": str(counted),
        "said": str(said),
        "accident": asdict(accident),
    }
    server = _server()
    assert server.stdin
    with _ASKING:
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
    return Running(said)


def run_command(arguments: Sequence[object], counted: Path, accident: Accident = NONE) -> Ended:
    """Run `subspace ARGUMENTS` to its end."""
    return begin(arguments, counted, accident).end()


def start_anew(arguments: Sequence[object], before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Begin `subspace ARGUMENTS` as a user does, imports and all, behind the words of another command."""
    command = [*before, sys.executable, "-m", "subspace.pipeline", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def end_of(process: subprocess.Popen[str], patience: float = PATIENCE) -> Ended:
    """How a command that was started anew ends."""
    began, hung = time.monotonic(), False
    try:
        errors = process.communicate(timeout=patience)[1]
    except subprocess.TimeoutExpired:
        hung = True
        os.killpg(process.pid, signal.SIGKILL)
        errors = process.communicate()[1]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    code = None if hung else process.returncode
    return Ended(code, PROGRESS.sub("", errors), time.monotonic() - began, ())


@cache
def accident_library() -> Path:
    """`accidents.c`, compiled into a folder that lasts as long as this process."""
    source = Path(__file__).with_name("accidents.c")
    compiler = shutil.which("cc") or sys.exit("a C compiler is needed: apt-get install gcc libc6-dev")
    folder = tempfile.TemporaryDirectory(prefix="accidents-")
    accident_library.folder = folder  # type: ignore[attr-defined]  (removed when the process ends)
    made = Path(folder.name) / "accidents.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", source, "-o", made, "-ldl"], check=True)
    return made


@cache
def _server() -> subprocess.Popen[str]:
    """The process to fork from; it ends with this one, whose end of the pipe is then closed."""
    environment = {**os.environ, "LD_PRELOAD": str(accident_library()), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, text=True, cwd="/", env=environment
    )


def _serve() -> None:
    from subspace import mining, pipeline, train

    for package in (mining, pipeline, train):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(json.loads(line))


def _watch(request: dict) -> NoReturn:
    """Run one command and keep its exit code, so that many commands run side by side."""
    said = Path(request["said"])
    child = os.fork()
    if not child:
        _become(said, **{name: value for name, value in request.items() if name != "said"})
    _keep(said / "pid", child)
    _keep(said / "exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0)


def _keep(path: Path, number: int) -> None:
    path.with_suffix(".tmp").write_text(str(number))
    path.with_suffix(".tmp").rename(path)


def _become(said: Path, arguments: list[str], counted: str, accident: dict) -> NoReturn:
    """Be what `subspace ARGUMENTS` is."""
    from subspace.pipeline.cli import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path in enumerate([os.devnull, said / "stdout", said / "stderr"]):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv[1:] = arguments
    library = ctypes.CDLL(None)
    library.accident_count.restype = ctypes.c_long
    if accident["renamed"][0]:
        library.accident_rename(*(name.encode() for name in accident["renamed"]))
    library.accident_clock(*(ctypes.c_long(number) for number in accident["clock"]))
    library.accident_list(str(said / "writes").encode())
    library.accident_arm(
        counted.encode(), ctypes.c_long(accident["at"]), accident["signal"], accident["error"]
    )
    main()
    raise AssertionError("main() leaves the process")


if __name__ == "__main__":
    _serve()

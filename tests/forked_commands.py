"""`subspace` commands forked from a process that has imported all of it, so that a test waits for no imports.

Each is a process of its own all the same, with its folder, environment, output and exit code. Tests that signal a
command start it anew, as `running_processes.start` does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

IMPORTED_LATE = ("pandas", "pyarrow.dataset", "torch._dynamo", "torch.utils.tensorboard")
"""What the libraries of a command import as it works: an optimiser alone takes 3 s for the second last of these."""


def run_command(
    arguments: Sequence[str], cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `subspace ARGUMENTS` in a folder and an environment, by default those that hold now, with this umask."""
    os.umask(umask := os.umask(0))
    server = _server()
    assert server.stdin
    assert server.stdout
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, "stdout"), Path(folder, "stderr")]
        request = {
            "arguments": list(arguments),
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(environment or os.environ),
            "said": list(map(str, said)),
            "umask": umask,
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            ["subspace", *arguments], code, *(path.read_text() for path in said)
        )


@cache
def _server() -> subprocess.Popen[str]:
    """The process to fork from; it ends with this one, whose end of the pipe is then closed."""
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )


def _serve() -> None:
    from subspace import mining, pipeline, train

    for package in (mining, pipeline, train):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(
    arguments: list[str], cwd: str, environment: dict[str, str], said: list[str], umask: int
) -> NoReturn:
    """Be what `python -m subspace.pipeline.cli ARGUMENTS` is in that folder."""
    from subspace.pipeline.cli import main

    for descriptor, path in enumerate([os.devnull, *said]):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.umask(umask)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[0] = cwd
    try:
        main()
    except SystemExit as left:
        code = left.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    _leave(code)


def _leave(code: object) -> NoReturn:
    """End as Python does, but without taking thousands of modules apart, which takes half a second."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve()

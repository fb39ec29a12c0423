"""An interrupt in the first moments of a command: it ends without a traceback. Covers pipeline/__main__.py, as well."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

IMPORTS = ("subspace.pipeline.cli", "subspace.pipeline.commands.stages", "typer.main")
INTERRUPTED = """
import builtins, os, signal, sys
from subspace.pipeline.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
imported = builtins.__import__
def at(name, *rest):
    module = imported(name, *rest)
    if {name!r} in sys.modules:
        builtins.__import__ = imported
        os.kill(os.getpid(), signal.SIGINT)
    return module
builtins.__import__ = at
sys.argv[1:] = ["run", "nowhere"]
main()
"""


def test_an_interrupt_while_it_imports_ends_a_command_without_a_traceback(tmp_path: Path):
    for name in IMPORTS:
        program = INTERRUPTED.format(name=name)
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert (ended.returncode, ended.stderr) == (-signal.SIGINT, ""), name


def test_an_interrupt_before_the_work_begins_ends_with_the_code_of_shells(tmp_path: Path):
    program = "import sys, typer; from subspace.pipeline import cli\n" + (
        "def interrupted(*_, **__): raise KeyboardInterrupt\n"
        "cli.command_line = lambda *_: interrupted; sys.argv[1:] = ['run', 'nowhere']; cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_an_interrupt_that_a_library_turns_into_its_own_error_is_still_one():
    program = """
import os, signal, sys, time
from subspace.pipeline import cli
def importing(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)
    except KeyboardInterrupt as error:
        raise SystemError("returned a result with an exception set") from error
cli.command_line = lambda *_: importing
from subspace.pipeline.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[1:] = ["run", "nowhere"]
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")

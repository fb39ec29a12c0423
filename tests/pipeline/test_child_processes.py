"""Processes of one command that fail together: the cause is said once."""

from __future__ import annotations

import sys
import threading
import warnings

import pytest

from subspace.mining.errors import LostContact, StoppedEarly
from subspace.pipeline import child_processes, cli
from subspace.pipeline.child_processes import CONTACT_LOST, PARENT, Child, run_children
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options

SAYS = "import sys; print({words!r}, file=sys.stderr); sys.exit({code})"
LOST = ("", CONTACT_LOST)


@pytest.mark.parametrize(
    ("children", "code", "line"),
    [
        ([LOST, ("two processes were given one GPU", 2)], 2, "two processes were given one GPU\n"),
        ([LOST, ("loader process 7 was killed", 4), LOST], 4, "loader process 7 was killed\n"),
        ([LOST, LOST], 4, "the processes lost contact with each other"),
        ([("said by process 0", 2), ("said by process 1", 2)], 2, "said by process 0\n"),
    ],
)
def test_the_cause_is_said_once_and_no_other_line(
    children: list[tuple[str, int]],
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Process 0 loses contact with the one that knows why, and is often the first to end."""
    monkeypatch.setattr(child_processes, "this_program", lambda: [sys.executable, "-S", "-c"])
    started = [
        Child(
            [SAYS.format(words=words, code=code) if words else f"raise SystemExit({code})"],
            1,
            speaks=not number,
        )
        for number, (words, code) in enumerate(children)
    ]
    with pytest.raises((SystemExit, StoppedEarly)) as ended:
        run_children(started, Options(Console(quiet=True)))
    told = str(ended.value) if isinstance(ended.value, StoppedEarly) else capfd.readouterr().err
    assert told.startswith(line)
    assert told.count("\n") <= 1
    assert (ended.value.exit_code if isinstance(ended.value, StoppedEarly) else ended.value.code) == code


def test_a_process_that_lost_contact_leaves_the_words_to_its_parent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise LostContact("process 0 lost contact")

    monkeypatch.setattr(cli, "command_line", lambda *_: lost)
    for module, name in ((warnings, "showwarning"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    monkeypatch.setattr(sys, "argv", ["subspace", "doctor"])
    for parent, code, words in ((True, CONTACT_LOST, ""), (False, 4, "subspace: process 0 lost contact\n")):
        if parent:
            monkeypatch.setenv(PARENT, "1")
        else:
            monkeypatch.delenv(PARENT, raising=False)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == code
        assert capsys.readouterr().err == words

"""What inspect draws on a terminal, and that a pipe gets the plain lines."""

from __future__ import annotations

import io
import os
import pty
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console as Screen

from subspace.pipeline.console import Console
from subspace.pipeline.inspection.on_terminal import (
    say_first_line,
    say_summary,
    say_table,
    summary_on_terminal,
)
from subspace.pipeline.inspection.summary import Summary

HOSTILE = "[bold red]Ann[/] :smile: \x1b[2J\nsubspace: done"
SHOWN = "[bold red]Ann[/] :smile: \\x1b[2J\\nsubspace: done"


def hostile_summary() -> Summary:
    summary = Summary("runs/x", "manifest", title="manifest")
    summary.add("identities", 1234)
    summary.add_histogram("images per identity", np.array([6] * 7 + [9]), "identities")
    summary.show_table("splits", [["split", "images"], [HOSTILE, "7"]])
    summary.show_list("notes", [HOSTILE])
    return summary


def drawn(summary: Summary, width: int) -> str:
    screen = Screen(record=True, width=width, file=io.StringIO(), highlight=False, markup=False, emoji=False)
    for part in summary_on_terminal(summary, screen):
        screen.print(part)
    return screen.export_text()


def test_a_terminal_gets_the_same_words_and_no_name_commands_it() -> None:
    text = drawn(hostile_summary(), 100)
    assert text.splitlines()[0] == "runs/x: manifest"
    assert text.count(SHOWN) == 2
    assert "\x1b" not in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "identities 1,234" in rows
    assert "images per identity 6 median; smallest 6, largest 9" in rows
    bars = [line.count("█") for line in text.splitlines() if "█" in line or line.endswith("▏")]
    assert bars == [50, 7]


def test_a_narrow_terminal_breaks_cells_and_loses_none() -> None:
    text = drawn(hostile_summary(), 40)
    assert all(len(line) <= 40 for line in text.splitlines())
    assert SHOWN.replace(" ", "") in "".join(text.split("notes")[0].replace("7", "").split()).replace("─", "")


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    summary = hostile_summary()
    say_summary(Console(), summary)
    said = capsys.readouterr().out
    assert said == "\n".join(summary.lines()) + "\n"
    assert said.splitlines()[:3] == [
        "runs/x: manifest",
        "  identities           1,234",
        "  images per identity      6 median; smallest 6, largest 9",
    ]
    say_table(Console(), [["a", "n"], [HOSTILE, "1"]])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "a",
        "-" * 51,
        SHOWN.split()[0],
    ]
    say_summary(Console(quiet=True), summary)
    assert capsys.readouterr().out == ""


def test_a_pseudo_terminal_gets_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        say_table(Console(), [["name", "images"], [HOSTILE, "7"]])
        terminal.flush()
        said = os.read(reader, 65536).decode()
    os.close(reader)
    assert "\x1b[1m" in said  # the head is bold
    assert SHOWN in said
    assert "\x1b[2J" not in said


def test_a_first_line_that_is_said_early_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    summary = hostile_summary()
    say_first_line(Console(), summary)
    say_summary(Console(), summary, begun=True)
    assert capsys.readouterr().out == "\n".join(summary.lines()) + "\n"

"""`subspace status --watch`. Covers pipeline/following/look.py, too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import subspace

from subspace.mining.errors import StoppedEarly
from subspace.pipeline.following.watch import Seen, watch_run


def test_a_line_for_each_change_and_all_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    seen = iter(
        [
            Seen("all", "1 of 3", False),
            Seen("all", "1 of 3", False),
            Seen("all", "2 of 3", False),
            Seen("END", "", True),
        ]
    )
    watch_run(lambda: next(seen), 0.0)
    assert capsys.readouterr().out.splitlines() == ["1 of 3", "2 of 3", "END"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, StoppedEarly])
def test_ctrl_c_ends_it_without_a_word(stop: type[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    def look() -> Seen:
        raise stop("stopped by SIGINT")

    watch_run(look, 0.0)
    assert capsys.readouterr() == ("", "")


def test_it_ends_with_the_run_and_takes_a_number_or_none(finished_run: Path) -> None:
    plain = subspace("status", finished_run)
    for words in (("--watch",), ("--watch", "2")):
        done = subspace("status", finished_run, *words)
        assert (done.returncode, done.stdout) == (0, plain.stdout), done.stderr
    assert re.search(r"^no command is at work here", plain.stdout)
    done = subspace("status", finished_run, "--watch", "--json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)

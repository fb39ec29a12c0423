"""The reliability campaign: its parts, and (slow) a few accidents of each kind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from accident_kinds import Accidents, Attempt, evenly, try_all
from broken_disks import distinct
from disturbed_commands import Ended, accident_library
from glyph_sets import REPOSITORY
from run_results import differences, finished_folders, results_of

WRITES_TWICE = """
import ctypes, os, pathlib, sys
folder, at, number, error = sys.argv[1], *map(int, sys.argv[2:])
ctypes.CDLL(None).accident_arm(folder.encode(), ctypes.c_long(at), number, error)
pathlib.Path(folder, "a").write_text("abcdef")
os.replace(folder + "/a", folder + "/b")
print(ctypes.CDLL(None).accident_count())
"""


def test_results_are_compared_without_times(tmp_path: Path) -> None:
    for name, seconds, loss in (("one", 1.0, 0.5), ("other", 2.0, 0.5), ("third", 1.0, 0.6)):
        folder = tmp_path / name / "round-000"
        (folder / "done").mkdir(parents=True)
        line = {"step": 0, "loss": loss, "seconds": seconds, "images_per_second": 9 / seconds}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        marker = {"fingerprint": "f", "seconds": seconds, "fields": {"seed": 0}}
        (folder / "done" / "train.json").write_text(json.dumps(marker))
    one, other, third = (results_of(tmp_path / name) for name in ("one", "other", "third"))
    assert len(one) == 2
    assert differences(one, other) == []
    assert differences(one, third) == ["round-000/metrics.jsonl"]
    assert differences(one, {}) == sorted(one)


def test_a_folder_is_finished_when_it_is_trained_and_evaluated(tmp_path: Path) -> None:
    for name in ("round-000", "start"):
        (tmp_path / name / "done").mkdir(parents=True)
        (tmp_path / name / "done" / "eval.json").touch()
    (tmp_path / "start" / "done" / "pretrain.json").touch()
    assert finished_folders(tmp_path) == ["start"]


def test_ends_are_clean_in_one_line() -> None:
    def ended(code: int | None, errors: str = "") -> Ended:
        return Ended(code, errors, 0.0, ())

    assert all(end.is_clean for end in (ended(0), ended(-9), ended(2, "a line\n"), ended(4, "a line\n")))
    begins = ended(1, "Fatal Python error: init_import_site: Failed to import the site module\nTraceback")
    assert (begins.is_clean, begins.words) == (True, "ended while Python itself began")
    for bad in (ended(None), ended(1, "a line\n"), ended(2), ended(2, "two\nlines\n"), ended(4, "Traceback"), ended(-2, "x")):  # fmt: skip
        assert not bad.is_clean, bad.words


def test_attempts_are_counted_and_the_campaigns_own_faults_are_no_success(tmp_path: Path) -> None:
    said: list[str] = []

    def fails(_: Path) -> Attempt:
        raise OSError("no")

    trials = [lambda _: Attempt("exit 0"), lambda _: Attempt("exit 0", "differs"), fails]
    outcome = try_all(Accidents("accident", trials), tmp_path, 2, said.append)
    assert (len(outcome.attempts), outcome.equal) == (3, 1)
    assert outcome.happened == "2 × exit 0, 1 × the campaign failed"
    assert len(said) == 2


def test_numbers_of_writes() -> None:
    assert evenly(1500, 200)[-1] == 1500
    assert len(evenly(1500, 200)) == 200
    assert distinct(("open /a1", "open /a2", "rmdir /a", "open /a3", "write /x/.tmpAb1")) == [1, 4, 5]


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD")
@pytest.mark.parametrize(
    ("at", "number", "error", "code", "left"),
    [
        (0, 0, 0, 0, {"b": "abcdef"}),
        (2, signal.SIGKILL, 0, -9, {"a": "abc"}),
        (3, signal.SIGKILL, 0, -9, {"a": "abcdef"}),
        (2, 0, errno.ENOSPC, 1, {"a": "abc"}),
        (3, 0, errno.EIO, 1, {"a": "abcdef"}),
    ],
)
def test_accidents_happen_at_their_write(
    tmp_path: Path, at: int, number: int, error: int, code: int, left: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITES_TWICE, tmp_path, *map(str, (at, int(number), error))],
        env={**os.environ, "LD_PRELOAD": str(accident_library())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == left
    if not code:
        assert done.stdout == "3\n"  # opened, written, renamed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD")
def test_a_few_accidents_of_each_kind() -> None:
    campaign = REPOSITORY / "benchmarks" / "reliability" / "campaign.py"
    done = subprocess.run([sys.executable, campaign, "--short"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout

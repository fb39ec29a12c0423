"""Progress as a person sees it: on terminals of two widths, and as plain lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest

from subspace.pipeline import console as module
from subspace.pipeline.console import Console, about, aligned, counted, duration, percent

NOTE = "loss 0.312, active 41%, d_ap 0.84, d_an 1.02, lr 1.0e-03, 1,734 images/s"

WORK = f"""
import time
from subspace.pipeline.console import Console
console = Console()
with console.progress("train", 400, "steps", 100) as progress:
    for step in range(100, 400):
        progress.update(1, {NOTE!r} if step % 20 == 19 else "")
        if step == 250:
            console.say("a word in between")
        time.sleep(0.004)
console.say("done")
"""


def on_terminal(columns: int, script: str) -> str:
    """What a script writes to a terminal of that width."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", "input()\n" + script])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.write(terminal, b"\n")  # now the width is set
    written = b""
    try:
        while block := os.read(terminal, 65536):
            written += block
    except OSError:  # Linux's way of saying that the other end is closed
        pass
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status == 0, written.decode()
    return written.decode()


def rows(written: str) -> list[str]:
    """Every state of every row, without the codes that move the cursor."""
    return [row.rstrip() for row in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", written))]


class Clock:
    """So many seconds pass at every look; more where a test says so."""

    def __init__(self, seconds: float) -> None:
        self.now, self._seconds = 0.0, seconds

    def monotonic(self) -> float:
        self.now += self._seconds
        return self.now


def test_the_rate_of_whole_parts_is_neither_that_of_a_burst_nor_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two parts of 80 come together each minute: 2.7 a second."""
    clock = Clock(0)
    monkeypatch.setattr(module, "time", clock)
    with Console(quiet=True).progress("extract", 4000, "images") as progress:
        for second in range(5, 905, 5):
            clock.now += 5
            progress.update(160 if second % 60 == 0 else 0)
            if second > 240:
                assert progress.rate is not None
                assert 160 / 60 * 0.75 < progress.rate < 160 / 60 * 1.25
        for _ in range(360):  # half an hour in which nothing comes
            clock.now += 5
            progress.update(0)
        assert progress.rate is not None
        assert progress.rate < 0.5
        for _ in range(24):
            clock.now += 5
            progress.update(50)
        assert progress.rate == pytest.approx(10)  # what is fast now shows within a minute or two


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_nothing_of_the_note_is_cut_off(columns: int) -> None:
    seen = rows(on_terminal(columns, WORK))
    assert max(map(len, seen)) <= columns
    bars = [row for row in seen if row.startswith("train:")]
    last = bars[-1]
    assert re.search(r"train: +\d+%\|.*\| \d+/400 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ steps/s", last), last
    if columns >= module.ONE_LINE:
        assert last.endswith(f"{NOTE}]")
        # between two notes the last one stays
        first = next(number for number, row in enumerate(bars) if NOTE in row)
        assert all(NOTE in row for row in bars[first:])
    else:
        assert f"  {NOTE}" in seen


@pytest.mark.parametrize("columns", [80, 160])
def test_a_word_in_between_has_a_row_of_its_own(columns: int) -> None:
    seen = rows(on_terminal(columns, WORK))
    assert seen.count("a word in between") == 1
    assert seen.count("done") == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(2)
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_plain_lines_say_the_same_and_end_with_the_last_state(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Console().progress("train", 10_000, "steps", 9_900) as progress:
        for step in range(9_900, 9_908):
            progress.update(1, NOTE if step == 9_901 else "")
    first, last = capsys.readouterr().err.splitlines()
    # begun at 2 s; the fifth update sees 12 s, and the line is printed at 14 s
    assert first == f"train: 9,905/10,000 steps, 0.4/s, 03:48 left, {NOTE}"
    assert last.startswith("train: 9,908/10,000 steps, ")
    assert last.endswith(NOTE)


def test_short_work_prints_no_plain_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("plan", None, "batches") as progress:
        for _ in range(3):
            progress.update(1)
    assert capsys.readouterr().err == ""


def test_quiet_is_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    with console.progress("plan", 100, "batches") as progress:
        for _ in range(100):
            progress.update(1, "note")
    console.say("word")
    assert capsys.readouterr() == ("", "")


def test_with_json_people_read_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.say("word")
    console.result({"a": 1})
    assert capsys.readouterr() == ('{"a": 1}\n', "word\n")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "< 0.1 s"), (0.4, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (44.4, "44 s"), (59.6, "1 min 00 s"), (192, "3 min 12 s"),
        (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (48 * 3600 - 1, "2 days 0 h"), (597_011, "6 days 22 h"),
    ],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "less than a second"), (0.8, "about 1 second"), (1.4, "about 1.5 seconds"), (2.6, "about 2.5 seconds"),
    (2.8, "about 3 seconds"), (44, "about 44 seconds"), (119, "about 119 seconds"), (120, "about 2 minutes"),
    (7_199, "about 120 minutes"), (7_200, "about 2 hours"), (172_800, "about 2 days"), (597_011, "about 7 days"),
])  # fmt: skip
def test_estimates_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_shares_and_counts_in_words() -> None:
    assert percent(0.6106) == "61 %"
    assert percent(0.8979, 1) == "89.8 %"
    assert counted(1, "image") == "1 image"
    assert counted(1200, "identity", "identities") == "1,200 identities"


def test_tables_align_numbers_to_the_right_and_words_to_the_left() -> None:
    rows = [["name", "state", "rows"], ["a", "done", "12"], ["long name", "x", "1,200"]]
    assert aligned(rows, text=(0, 1)).splitlines() == [
        "name       state   rows",
        "-----------------------",
        "a          done      12",
        "long name  x      1,200",
    ]


def test_a_narrow_table_breaks_its_last_words_in_their_column() -> None:
    words = "seven words that are longer than, TAR@FAR=1e-3 4 %"
    rows = [["name", "what"], ["a", words], ["b", "short"]]
    broken = aligned(rows, text=(0, 1), width=46).splitlines()
    assert broken[2:] == [
        "a     seven words that are longer than,",
        "      TAR@FAR=1e-3 4 %",
        "b     short",
    ]
    assert max(map(len, broken)) <= 46
    assert aligned(rows, text=(0, 1), width=80) == aligned(rows, text=(0, 1))

"""Quotes of a CSV, against a parser that goes byte by byte."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.pipeline.sources.options import SourceOptions
from subspace.pipeline.sources.table import _Csv
from subspace.pipeline.tables import csv_quotes
from subspace.pipeline.tables.csv_quotes import LONGEST, QuoteCheck


def checked(data: bytes, size: int = 1 << 24, long_values: bool = False) -> QuoteCheck:
    check = QuoteCheck(io.BytesIO(data), ",", "a.csv", long_values)
    assert b"".join(iter(lambda: check.read(size), b"")) == data
    return check


def slowly(text: str) -> tuple[str, int, int]:
    """What is wrong, line ends within quotes and quotes in fields without, one character after another."""
    state, within, loose, spread, at = "begin", 0, 0, False, 0
    while at < len(text):
        char, at = text[at], at + 1
        if char == "\r" and text[at : at + 1] == "\n":
            char, at = "\n", at + 1
        if state == "quoted":
            if char == '"' and text[at : at + 1] == '"':
                at += 1
            elif char == '"':
                state = "closed"
            elif char in "\r\n":
                within, spread = within + 1, True
        elif char in ",\r\n":
            state = "begin"
        elif state == "closed":
            return "text behind a quote", within, loose
        elif char == '"' and state == "begin":
            state = "quoted"
        else:
            loose += char == '"'
            state = "field"
    if state == "quoted":
        return "never closes", within, loose
    return "either may be astray" if loose and spread else "", within, loose


PIECES = st.text(st.sampled_from('"",\n\rab'), max_size=14)


@given(PIECES, st.integers(1, 15), st.integers(1, 6))
def test_it_says_what_a_slow_parser_says(text: str, size: int, at_once: int) -> None:
    problem, within, loose = slowly(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_quotes, "_AT_ONCE", at_once)
        if problem:
            with pytest.raises(InputError, match=f"{problem}|either may be astray"):
                checked(text.encode(), size)
            return
        check = checked(text.encode(), size)
    assert (check.within, check.loose) == (within, loose)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    assert check.lines == (len(lines) if text else 0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', "a.csv, line 3: the quote there never closes"),
        ('a,b\r\n1,2\r\n3,"4"x\r\n', "a.csv, line 3: text behind a quote that closes"),
        ('a,b\n1,"2\n3,4\n5,"6\n', "a.csv, line 4: text behind a quote"),
        ('a,b\n1,"2' + "\n3,4" * (LONGEST + 1) + '\n5,6"\n', "a.csv, line 2: the value that a quote opens there runs over"),
        ('a,b\n1,"2\n3"\n4,5"\n', "a.csv, line 4: a quote within a value, and the value that one opens in line 2"),
        ('\ufeff"a","b"\n"1', "a.csv, line 2: the quote there never closes"),
    ],
)  # fmt: skip
def test_a_stray_quote_is_one_line(text: str, complaint: str) -> None:
    for size in (3, 7, 1 << 20):
        with pytest.raises(InputError) as error:
            checked(text.encode(), size)
        assert str(error.value).startswith(complaint)


def test_long_values_may_be_allowed() -> None:
    text = b'a,b\n1,"' + b"x\n" * 1_000 + b'"\n'
    assert checked(text, 100, long_values=True).within == 1_000
    assert checked(b'a,b\n1,"' + b"x\n" * LONGEST + b'"\n' * 1, 7).within == LONGEST


def test_an_unclosed_quote_is_refused_before_the_rest_is_read() -> None:
    file = io.BytesIO(b'a,b\n1,"2\n' + b"3,4\n" * (1 << 22))
    with pytest.raises(InputError, match="line 2"):
        QuoteCheck(file, ",", "a.csv").read(1 << 20)
    assert file.tell() == 1 << 20


def test_pyarrow_reads_no_object_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of its reader that still does when the interpreter ends aborts the process."""

    def refused(*_: object) -> None:
        raise AssertionError("a thread of pyarrow would run Python")

    monkeypatch.setattr(pa, "PythonFile", refused)
    (tmp_path / "a.csv").write_text("path;label;caption\n" + 'a.jpg;x;"a, b"\n' * 9)
    with pytest.raises(InputError):
        list(_Csv(tmp_path / "a.csv", SourceOptions()).parsed())
    table = _Csv(tmp_path / "a.csv", SourceOptions(delimiter=";"))
    assert sum(map(len, table.parsed())) == 9


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path;label;caption\na.jpg;x;a, b\n", r"cannot parse .*: give --delimiter ';'"),
        ('path;label;caption\na.jpg;x;" b",c"d\n"1\n', "a quote within a value.*: give --delimiter ';'"),
        ("path label\na.jpg x,y\n", r"cannot parse .*: give --delimiter 'space'"),
        ('path,label\na.jpg,"x\n' + "y" * 200_000 + '"\n', "a.csv: a row has a value of 'label' over several lines"),
        ("path,label,x1,y1,x2,y2\na.jpg,x,1.5,2,3,4\n", r"no whole numbers.*--no-box-columns"),
    ],
)  # fmt: skip
def test_a_table_that_is_refused_says_what_helps(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=complaint):
        list(_Csv(tmp_path / "a.csv", SourceOptions()).rows(numbers=False))

"""Text for terminals: nothing in it moves the cursor, and nothing is lost."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from subspace.pipeline.console import Console, aligned
from subspace.pipeline.terminal_text import printable, printable_json, printable_line

NAMES = st.text(st.characters(codec=None), max_size=40)
"""With lone surrogates, as names of files that are not UTF-8 have."""


def commands(text: str) -> list[str]:
    """What a terminal might obey."""
    return [
        c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or "\u202a" <= c <= "\u202e"
    ]


@given(NAMES)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert commands(printable_line(text)) == []
    assert set(commands(printable(text))) <= {"\n", "\t"}


@given(NAMES)
def test_json_means_the_same(text: str) -> None:
    shown = printable_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert commands(shown) == []
    assert json.loads(shown) == {text: [text]}


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs")), max_size=40))
def test_names_of_all_languages_stay_as_they_are(text: str) -> None:
    assert printable_line(text) == text


def test_a_name_cannot_make_a_line_of_its_own_in_a_table() -> None:
    assert aligned([["identity", "images"], ["Ann\nBob\x1b[2K", "3"]]).splitlines()[2:] == [
        "Ann\\nBob\\x1b[2K       3"
    ]


def test_what_is_said_is_printable(capsys) -> None:  # type: ignore[no-untyped-def]
    Console().say("read \x1b]0;owned\x07 and \udc80")
    assert capsys.readouterr().out == "read \\x1b]0;owned\\x07 and \\udc80\n"

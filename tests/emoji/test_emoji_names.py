"""Emoji are found however a vendor writes their code points or their names."""

from __future__ import annotations

import doctest

import emoji_names
import pytest
from emoji_names import Emoji, Names

BALD = Emoji("1f468-1f3fb-200d-1f9b2", "man: light skin tone, bald")
KEYCAP = Emoji("0023-20e3", "keycap: #")
COUPLES = [
    Emoji(f"1f46b-1f3f{one}-200d-1f3f{other}", f"people: {tones}")
    for one, other, tones in (
        ("b", "f", "light skin tone, dark skin tone"),
        ("f", "b", "dark skin tone, light skin tone"),
    )
]
NAMES = Names([BALD, KEYCAP, *COUPLES])


def test_the_examples_hold() -> None:
    assert doctest.testmod(emoji_names).failed == 0


@pytest.mark.parametrize(
    "code", ["1F468-1F3FB-200D-1F9B2", "1f468-1f3fb-1f9b2", "1f468_1f3fb_200d_1f9b2-fe0f"]
)
def test_joiners_and_selectors_tell_nothing_apart(code: str) -> None:
    assert NAMES.find(code=code) == BALD


def test_short_code_points_are_padded() -> None:
    assert NAMES.find(code="23-fe0f-20e3") == KEYCAP


def test_a_name_that_two_emoji_share_is_no_name() -> None:
    assert NAMES.find(name="man-bald-light") == BALD
    assert NAMES.find(name="people-light-dark") is None


def test_variants_share_a_drawing() -> None:
    assert (
        Emoji("1f3c3-1f3fb-200d-2642", "man running").base == Emoji("1f3c3", "person running").base == "1f3c3"
    )


def test_the_table_is_read_without_pictures_of_its_own() -> None:
    rows = [
        {"hexcode": "2764-FE0F", "annotation": "red heart", "group": "smileys-emotion"},
        {"hexcode": "E316", "annotation": "a drawing", "group": "extras-openmoji"},
    ]
    assert list(Names.of_table(rows).by_code.values()) == [Emoji("2764", "red heart")]

"""Reading word lists: what a word is, and which lists have it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from word_lists import list_word_lists, read_words

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console


def test_words_are_those_of_a_slow_loop(tmp_path: Path) -> None:
    lines = {
        "a": [
            "Haus",
            "haus",
            " Häuser ",
            "ab",
            "Éclair",
            "O'Neil",
            "x-ray",
            "abc1",
            "siebzehnbuchstabe",
            "ﬁne",
        ],
        "b": ["йога", "Ёлка", "HAUS", "größe", "ªbc", "sechzehnbuchstab"],
    }
    for name, words in lines.items():
        (tmp_path / name).write_text("\n".join(words), encoding="utf-8")
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / "link").symlink_to("a")
    expected: dict[str, int] = {}
    for bit, words in enumerate(lines.values()):
        for word in words:
            word = unicodedata.normalize("NFC", word.strip()).lower()
            if word.isalpha() and 3 <= len(word) <= 16 and unicodedata.normalize("NFKC", word) == word:
                expected[word] = expected.get(word, 0) | 1 << bit
    found = read_words(list_word_lists(tmp_path), Console(quiet=True))
    assert dict(zip(found.words.to_pylist(), found.lists.tolist(), strict=True)) == expected
    assert found.words.to_pylist() == sorted(expected)
    assert found.names == ["a", "b"]
    assert expected["haus"] == 3


def test_a_list_that_is_no_utf_8_is_latin_1_and_composed_forms_are_one(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("fjäder\n".encode("latin-1"))
    (tmp_path / "utf.txt").write_text(unicodedata.normalize("NFD", "fjäder\n"), encoding="utf-8")
    found = read_words(list_word_lists(tmp_path), Console(quiet=True))
    assert found.encodings == ["Latin-1", "UTF-8"]
    assert (found.words.to_pylist(), found.lists.tolist()) == (["fjäder"], [3])


def test_too_many_lists_are_one_line(tmp_path: Path) -> None:
    for number in range(33):
        (tmp_path / f"{number}").write_text("word")
    with pytest.raises(InputError, match="holds 33 files"):
        list_word_lists(tmp_path)

"""Stems, splits and sizes, against their definitions in slow loops."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from word_splits import LEFT_OUT, SPLITS, Size, stem_of, word_splits

SIZE = Size(train=300, pretrain=50, test=40, val=20, distractor=60, run=5, largest=80, images=2, rich=4)


def made_up(count: int) -> list[str]:
    draw = random.Random(0)
    begin = ["hau", "häu", "geh", "nie", "тек", "тёк"] + [
        "".join(draw.choice("bdgklm") for _ in "abc") for _ in range(60)
    ]
    return sorted(
        {draw.choice(begin) + "".join(draw.choice("aeiou") for _ in range(4)) for _ in range(count)}
    )


@pytest.fixture(scope="module")
def words() -> list[str]:
    return made_up(3_000)


def split_of(words: list[str], families: np.ndarray, size: Size) -> dict[str, str]:
    split = word_splits(pa.array(words, pa.large_string()), families, size)
    return {word: SPLITS[i] for word, i in zip(words, split, strict=True) if i != LEFT_OUT}


def test_a_stem_is_of_one_split_and_accents_do_not_part_it(words: list[str]) -> None:
    found = split_of(words, np.full(len(words), 9), SIZE)
    sides: dict[str, set[str]] = {}
    for word, split in found.items():
        plain = "".join(
            letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter)
        )
        sides.setdefault(plain[:3], set()).add("train" if split == "pretrain" else split)
    assert all(len(side) == 1 for side in sides.values())
    assert stem_of("häute") == stem_of("haut")
    assert stem_of("тёк") == stem_of("тек")


def test_a_split_has_as_many_as_it_is_to_have_and_no_stem_too_many(words: list[str]) -> None:
    found = split_of(words, np.full(len(words), 9), SIZE)
    assert Counter(found.values()) == {"train": 250, "pretrain": 50, "test": 40, "val": 20, "distractor": 60}
    size_of = Counter(map(stem_of, words))
    for name in ("test", "val"):
        own = [word for word in found if found[word] == name]
        assert max(Counter(map(stem_of, own)).values()) <= SIZE.run
        for stem in {stem_of(word) for word in own}:  # neighbours in the order of the alphabet
            among = [word in own for word in words if stem_of(word) == stem]
            first = among.index(True)
            assert all(among[first : first + sum(among)])
    assert all(
        size_of[stem_of(word)] <= SIZE.largest for word in found if found[word] not in ("train", "pretrain")
    )


def test_a_smaller_size_is_part_of_a_larger_one_and_is_tested_alike(words: list[str]) -> None:
    families = np.full(len(words), 9)
    small, large = (split_of(words, families, replace(SIZE, train=train)) for train in (100, 1_000))
    assert {word: split for word, split in small.items() if split != "train"} == {
        word: split for word, split in large.items() if split != "train"
    }
    assert small.items() <= large.items()


def test_few_families_are_not_held_out_and_one_is_left_out(words: list[str]) -> None:
    families = np.random.default_rng(0).integers(0, 7, len(words))
    found = split_of(words, families, replace(SIZE, train=10_000))
    for word, can in zip(words, families, strict=True):
        assert can >= {None: 0, "train": 2}.get(found.get(word), 4)
    assert sum(split == "train" for split in found.values()) > 500


def test_words_less_move_few_others(words: list[str]) -> None:
    before = split_of(words, np.full(len(words), 9), SIZE)
    gone = stem_of(next(word for word in words if before.get(word) == "train"))
    fewer = [word for word in words if stem_of(word) != gone]
    after = split_of(fewer, np.full(len(fewer), 9), SIZE)
    moved = [word for word in fewer if before.get(word) != after.get(word)]
    assert len(moved) < 3 * sum(stem_of(word) == gone for word in before)
    assert all(before.get(word, "train") in ("train", "pretrain") for word in moved)


def test_images_by_split() -> None:
    assert SIZE.images_of(np.arange(5)).tolist() == [2, 4, 4, 4, 1]

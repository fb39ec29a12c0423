"""Which words are held out, whole stems together, and which are trained on.

A stem is the words that begin with the same three letters, accents taken off: every word has three letters, so that
two forms of a word whose beginnings are alike are never on two sides. Which stem is held out, and which words of the
others a smaller size takes, is drawn by a hash of the stem or the word: a list more or less moves few of them, the
held-out words are the same in all sizes, and a smaller size is part of a larger one.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SEED = 20_241_127
STEM = 3
"""Letters."""
SPLITS = ("train", "pretrain", "val", "test", "distractor")
LEFT_OUT = -1
_HASHED = 65_536  # words at a time


@dataclass(frozen=True)
class Size:
    """How many identities a size has in each split, and how many images of each."""

    train: int
    """At most, those of `pretrain` among them."""
    pretrain: int
    test: int
    val: int
    distractor: int
    run: int
    """At most so many words of one stem are in `test` or `val`: neighbours in the order of the alphabet."""
    largest: int
    """A stem of more words is trained on."""
    images: int
    """Of an identity in `train`."""
    rich: int
    """Images of an identity in `pretrain`, `val` or `test`, which are the same in all sizes; a distractor has one."""

    def images_of(self, split: np.ndarray) -> np.ndarray:
        """How many images each identity is to have, int8, by the indices of its split."""
        return np.array([self.images, self.rich, self.rich, self.rich, 1], np.int8)[split]


def stem_of(beginning: str) -> str:
    """The stem of a word, or of its first letters: Häu and hau are one.

    >>> stem_of("häuser"), stem_of("йога")
    ('hau', 'ио')
    """
    plain = unicodedata.normalize("NFD", beginning[:STEM].lower())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def stems(words: pa.LargeStringArray) -> tuple[np.ndarray, list[str]]:
    """The stem of each word, int32[W], as an index into the stems in order."""
    coded = pc.utf8_slice_codeunits(words, 0, STEM).dictionary_encode()
    of_beginning = list(map(stem_of, coded.dictionary.to_pylist()))
    names = sorted(set(of_beginning))
    number = {name: place for place, name in enumerate(names)}
    places = np.array([number[name] for name in of_beginning], np.int32)
    return places[coded.indices.to_numpy()], names


def word_splits(words: pa.LargeStringArray, families: np.ndarray, size: Size) -> np.ndarray:
    """The split of each word, as indices into SPLITS, or LEFT_OUT: int8[W].

    Args:
        words: in order.
        families: how many type families can write each, int[W]; one that fewer than two can is left out, and one that
            fewer than `size.rich` can is not held out.
    """
    stem, names = stems(words)
    split = np.full(len(words), LEFT_OUT, np.int8)
    rich = families >= size.rich
    count = np.bincount(stem[rich], minlength=len(names))
    free = np.bincount(stem, minlength=len(names)) <= size.largest
    in_order = np.argsort(_keys([f"stem {name}" for name in names]), kind="stable")
    usable = iter(in_order[(free & (count >= size.run))[in_order]].tolist())
    by_stem = np.argsort(stem, kind="stable")  # of one stem, in the order of the alphabet
    starts = np.searchsorted(stem[by_stem], np.arange(len(names) + 1))
    held_out = np.zeros(len(names), bool)
    for name, wanted, run in (
        ("test", size.test, size.run),
        ("val", size.val, size.run),
        ("distractor", size.distractor, size.largest),
    ):
        left = wanted
        while left and (one := next(usable, None)) is not None:
            held_out[one] = True
            own = by_stem[starts[one] : starts[one + 1]]
            own = own[rich[own]]
            first = int(_keys([f"run {names[one]}"])[0] % np.uint64(max(1, len(own) - run + 1)))
            chosen = own[first : first + min(run, left)]
            split[chosen] = SPLITS.index(name)
            left -= len(chosen)

    others = np.flatnonzero(~held_out[stem] & (families >= 2))
    keys = np.concatenate(
        [
            _keys(words.take(pa.array(others[at : at + _HASHED])).to_pylist())
            for at in range(0, len(others), _HASHED)
        ]
        or [np.empty(0, np.uint64)]
    )
    others = others[np.argsort(keys, kind="stable")][: size.train]
    split[others] = SPLITS.index("train")
    split[others[rich[others]][: size.pretrain]] = SPLITS.index("pretrain")
    return split


def _keys(texts: list[str]) -> np.ndarray:
    """uint64, drawn for each text and nothing else."""
    salt = SEED.to_bytes(8, "little")
    digests = (hashlib.blake2b(text.encode(), digest_size=8, salt=salt).digest() for text in texts)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)

"""LFW's pairs.txt: folds of genuine pairs (name, two numbers) and impostor pairs (name, number, name, number).

`pairsDevTest.txt` and `pairsDevTrain.txt` have one number in their first line, and no folds. Source: Huang et al., "Labeled
Faces in the Wild" (2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...mining.errors import InputError
from .listed_images import PairList, listed_manifest, numbered

ENDINGS = (".jpg", ".png", ".jpeg", ".JPG", ".PNG")
LONGEST = 2**24
"""Bytes of a list: the real ones have 0.2 MB."""


def read_lfw_pairs(path: Path, root: Path | None = None) -> PairList:
    """Pairs of LFW's images, which lie at root/Name/Name_0001.jpg.

    Args:
        root: where the folders of names lie; None: the folder of the list. Endings .jpg and .png are tried; where no image
            lies there, as with a file of embeddings, it is .jpg, as in LFW.

    Raises:
        InputError: missing, a line that is no pair, or another number of pairs than its first line says.
    """
    lines = _lines(path)
    folds, each = _head(path, lines[0])
    if len(lines) - 1 != 2 * folds * each:
        raise InputError(
            f"{path}: its first line promises {folds} x 2 x {each} = {2 * folds * each:,} pairs, {len(lines) - 1:,} follow; "
            "copy it again"
        )
    rows = [_pair(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    for number, (kind, *_) in enumerate(rows):
        if kind != (number % (2 * each) < each):
            wanted = "genuine" if number % (2 * each) < each else "impostor"
            raise InputError(
                f"{path}, line {number + 2}: '{lines[number + 1]}' is no {wanted} pair, which belongs here"
            )
    names, (first, second) = numbered(*([row[side] for row in rows] for side in (1, 3)))
    _, (who_a, who_b) = numbered(*([row[side] for row in rows] for side in (2, 4)))
    base = path.parent if root is None else root
    ending = _ending(base, names)
    files = [base / f"{name}{ending}" for name in names]
    fold = np.repeat(np.arange(folds), 2 * each) if folds > 1 else None
    manifest = listed_manifest(path, [str(file.absolute()) for file in files])
    same = np.array([row[0] for row in rows])
    note = (f"images: {base}/NAME/NAME_0001{ending}",)
    return PairList(
        manifest, [f"{name}{ending}" for name in names], first, second, same, fold, (who_a, who_b), note
    )


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise InputError(f"{path} is larger than any list of LFW's; give own pairs as CSV or Parquet")
        text = data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give LFW's pairs.txt") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text (byte {error.start:,}); give LFW's pairs.txt") from error
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path} is empty; give LFW's pairs.txt")
    return lines


def _head(path: Path, line: str) -> tuple[int, int]:
    """Folds, and pairs of each kind in a fold."""
    words = line.split()
    if not 1 <= len(words) <= 2 or not all(
        word.isascii() and word.isdigit() and len(word) < 8 for word in words
    ):
        raise InputError(
            f"{path}, line 1: '{line[:60]}' is not the number of folds and of pairs in each, as in LFW's '10 300'; own pairs "
            "go in a CSV with columns image_a, image_b, same"
        )
    folds, each = (1, *map(int, words)) if len(words) == 1 else map(int, words)
    if not (folds and each):
        raise InputError(f"{path}, line 1: '{line}' promises no pairs")
    return folds, each


def _pair(path: Path, number: int, line: str) -> tuple[bool, str, str, str, str]:
    """Whether it is genuine; the first image and its name, the second image and its name."""
    words = line.split("\t") if "\t" in line else line.split()
    words = [word.strip() for word in words]
    same = len(words) == 3
    if same:
        words = [words[0], words[1], words[0], words[2]]
    whole = len(words) == 4 and all(
        word.isascii() and word.isdigit() and len(word) < 8 for word in (words[1], words[3])
    )
    if (
        not whole
        or not all(words)
        or any("/" in name or name in (".", "..") or "\0" in name for name in words)
    ):
        raise InputError(
            f"{path}, line {number}: '{line[:60]}' is neither 'name n1 n2' nor 'name1 n1 name2 n2'"
        )
    first, second = (f"{name}/{name}_{int(image):04d}" for name, image in (words[:2], words[2:]))
    return same, first, words[0], second, words[2]


def _ending(base: Path, names: Sequence[str]) -> str:
    """The first of the endings that an image there has."""
    for ending in ENDINGS:
        if any((base / f"{name}{ending}").is_file() for name in names):
            return ending
    return ENDINGS[0]

"""Word lists -> the distinct words of all of them: lower case, NFC, 3 to 16 letters, and which lists have each.

A list is a text file with a word a line, in UTF-8, else Latin-1; its name is the list's. Reading is Arrow's work, since
ten million words as Python's strings would fill a gigabyte.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fetch_fonts import unpack

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console

FEWEST, MOST = 3, 16
"""Letters of a word."""
MOST_LISTS = 32
LISTS_IN_PACKAGE = Path("usr/share/dict")
ELSEWHERE = "take word lists from a folder with --lists instead"

_WORD = rf"^\p{{L}}{{{FEWEST},{MOST}}}$"


class ListFile(NamedTuple):
    """A word list."""

    path: Path
    package: str
    """"" in a folder that the user gave."""
    version: str

    @property
    def name(self) -> str:
        """polish, american-english-insane."""
        return self.path.name.removesuffix(".txt")


class Words(NamedTuple):
    """W distinct words in the order of their code points, from up to 32 lists."""

    words: pa.LargeStringArray
    lists: np.ndarray
    """uint32[W]: bit i is set where list i has the word."""
    names: list[str]
    """Of the lists."""
    encodings: list[str]
    """As which each list was read."""


def fetch_lists(packages: Sequence[str], folder: Path, console: Console) -> list[ListFile]:
    """The word lists of Debian's packages, in the order of packages and names; missing packages are fetched."""
    found = []
    for name, version, place in unpack(packages, folder, console, ELSEWHERE):
        files = _text_files(place / LISTS_IN_PACKAGE)
        if not files:
            console.say(f"warning: {name} {version} holds no file in {LISTS_IN_PACKAGE}")
        found += [ListFile(path, name, version) for path in files]
    return found


def list_word_lists(folder: Path) -> list[ListFile]:
    """The files of a folder as word lists, by name; links and hidden files are not read.

    Raises:
        InputError: there is none, or there are more than 32.
    """
    files = _text_files(folder)
    if not 1 <= len(files) <= MOST_LISTS:
        raise InputError(
            f"{folder} holds {len(files)} files; name a folder of 1 to {MOST_LISTS} word lists, a word a line"
        )
    return [ListFile(path, "", "") for path in files]


def read_words(files: list[ListFile], console: Console) -> Words:
    """Read all lists.

    Raises:
        InputError: a file is no text, or holds no word.
    """
    parts, encodings = [], []
    with console.progress("read", len(files), "word lists") as progress:
        for file in files:
            words, encoding = _read(file.path)
            parts.append(words)
            encodings.append(encoding)
            progress.update(1, file.name)
    coded = pa.chunked_array(parts).combine_chunks().dictionary_encode()
    lists = np.zeros(len(coded.dictionary), np.uint32)
    # A list has a word once, so that adding sets a bit.
    bits = np.repeat(np.uint32(1) << np.arange(len(parts), dtype=np.uint32), [len(part) for part in parts])
    np.add.at(lists, coded.indices.to_numpy(), bits)
    order = pc.sort_indices(coded.dictionary)
    return Words(
        coded.dictionary.take(order), lists[order.to_numpy()], [file.name for file in files], encodings
    )


def _read(path: Path) -> tuple[pa.LargeStringArray, str]:
    data, encoding = path.read_bytes(), "UTF-8"
    if b"\0" in data:
        raise InputError(f"{path} is no text (it has a zero byte); give a text file with a word a line")
    try:
        data.decode()
    except UnicodeDecodeError:
        data, encoding = data.decode("latin-1").encode(), "Latin-1"
    lines = pc.split_pattern(pa.array([data.decode()], pa.large_string()), "\n").flatten()
    words = pc.utf8_lower(pc.utf8_normalize(pc.utf8_trim_whitespace(lines), "NFC"))
    words = words.filter(pc.match_substring_regex(words, _WORD))
    words = words.filter(pc.equal(pc.utf8_normalize(words, "NFKC"), words)).unique()
    if not len(words):
        raise InputError(
            f"{path} ({encoding}) holds no word of {FEWEST} to {MOST} letters; give a text file with a word a line"
        )
    return words, encoding


def _text_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())

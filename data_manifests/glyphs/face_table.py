"""All faces of a set in their order, which is by package, file and place in the file, and all that they draw.

Shapes: F faces, E drawings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drawn_fonts import entries_of, told_of
from fetch_fonts import FontFile
from type_families import type_family
from write_shards import DRAWN


@dataclass(frozen=True)
class FaceRow:
    """One face; the fields are the columns of faces.csv."""

    package: str
    package_version: str
    file: str
    sha256: str
    index: int
    name: str
    family: str
    font_version: str
    characters: int
    """That it draws, those left out of `FaceTable` not counted."""


@dataclass(frozen=True)
class FaceTable:
    """The faces of a set and their drawings."""

    faces: list[FaceRow]
    drawn: np.ndarray
    """DRAWN[E], sorted by the name of the identity, then face."""
    blank: int
    placeholders: int
    nameless: int
    """Drawings of unassigned and private-use code points, which are left out."""


def identity_name(code: int) -> str:
    """The name of a character's identity: U+0041."""
    return f"U+{code:04X}"


def is_named(code: int, private: bool) -> bool:
    """Whether a code point is a character by this Python's Unicode data, or a private one where those count.

    Fonts disagree on what the others are: hieroglyphs, an invented script, the number in a box.
    """
    category = unicodedata.category(chr(code))
    return category != "Cn" and (private or category != "Co")


def face_table(files: list[FontFile], folders: list[Path], private_use: Collection[str] = ()) -> FaceTable:
    """Gather what was drawn of each file into the folder of the same place; a face without characters is left out.

    `private_use`: the packages whose private-use characters count.
    """
    faces: list[FaceRow] = []
    pieces = []
    blank = placeholders = nameless = 0
    for number, (file, folder) in enumerate(zip(files, folders, strict=True)):
        told, entries = told_of(folder), entries_of(folder)
        blank, placeholders = blank + told["blank"], placeholders + told["placeholders"]
        private = file.package in private_use
        named = np.fromiter(
            (is_named(code, private) for code in entries["code"].tolist()), bool, len(entries)
        )
        nameless, entries = nameless + int((~named).sum()), entries[named]
        for name in told["faces"]:
            of_face = entries[entries["face"] == name["index"]]
            if not len(of_face):
                continue
            piece = np.empty(len(of_face), DRAWN)
            piece["code"], piece["picture"] = of_face["code"], of_face["picture"]
            piece["face"], piece["file"] = len(faces), number
            pieces.append(piece)
            family = type_family(name["family"])
            where = (file.package, file.version, file.path.name, told["sha256"], name["index"])
            faces.append(FaceRow(*where, name["name"], family, name["font_version"], len(of_face)))
    drawn = np.concatenate([np.empty(0, DRAWN), *pieces])
    codes, which = np.unique(drawn["code"], return_inverse=True)
    rank = np.argsort(np.argsort([identity_name(code) for code in codes.tolist()])) if len(codes) else codes
    return FaceTable(faces, drawn[np.lexsort((drawn["face"], rank[which]))], blank, placeholders, nameless)

"""IJB's lists: which images make a template, which templates are compared, which make a gallery.

CSV with a header (`TEMPLATE_ID, SUBJECT_ID, FILENAME, SIGHTING_ID`), or InsightFace's .txt without one
(`1.jpg template medium` and `template template same`). Capitals do not matter.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import in_one_line
from .listed_images import numbered
from .pair_table import filled, read_list, truths

IMAGE = ("filename", "file", "image", "path")
MEDIUM = ("media_id", "sighting_id", "mid")
FIRST, SECOND = (
    ("template_a", "template_id_1", "enroll_template_id"),
    ("template_b", "template_id_2", "verif_template_id"),
)
FACE_LIST, PAIR_LIST = ("image", "template_id", "media_id"), ("template_a", "template_b", "same")
"""Columns of InsightFace's lists, which have no header."""


@dataclass(frozen=True)
class TemplateImages:
    """Which images make which templates: L list rows.

    >>> images = TemplateImages(Path("faces.csv"), ["1.jpg"], *[np.array([0])] * 3, None)
    >>> print(images.in_words())
    faces.csv: 1 templates of 1 images (1 list rows, 1 media), no subjects
    """

    path: Path
    names: list[str]
    """The distinct images."""
    image: np.ndarray
    """int64[L], the row of each list row's image."""
    template_id: np.ndarray
    """int64[L], as the list has it."""
    media_id: np.ndarray
    """int64[L], numbers of media."""
    subject: list[str] | None
    """[L], who is in it; None where the list does not say."""

    def subjects(self) -> dict[int, str]:
        """The subject of each template.

        Raises:
            InputError: the list does not say, or says two of one template.
        """
        if self.subject is None:
            raise InputError(
                f"{self.path} has no column subject_id, which 1:N needs; give IJB's CSV of templates"
            )
        found: dict[int, str] = {}
        for template, who in zip(self.template_id.tolist(), self.subject, strict=True):
            if found.setdefault(template, who) != who:
                raise InputError(
                    f"{self.path}: template {template} is of two subjects, {found[template]} and {who}"
                )
        return found

    def in_words(self) -> str:
        """What was read, in a line."""
        subjects = "no subjects" if self.subject is None else f"{len(set(self.subject)):,} subjects"
        return (
            f"{self.path}: {len(np.unique(self.template_id)):,} templates of {len(self.names):,} images "
            f"({len(self.image):,} list rows, {len(np.unique(self.media_id)):,} media), {subjects}"
        )


@dataclass(frozen=True)
class TemplatePairs:
    """Pairs of templates that are compared.

    >>> pairs = TemplatePairs(Path("match.csv"), np.array([1]), np.array([2]), np.array([True]))
    >>> pairs.in_words()
    'match.csv: 1 pairs of templates, 1 genuine'
    """

    path: Path
    first: np.ndarray
    """int64[m], template ids."""
    second: np.ndarray
    """int64[m]."""
    same: np.ndarray | None
    """bool[m]; None where the list does not say, so that the subjects must."""

    def in_words(self) -> str:
        """What was read, in a line."""
        kinds = (
            "genuine where the subjects are the same"
            if self.same is None
            else f"{int(self.same.sum()):,} genuine"
        )
        return f"{self.path}: {len(self.first):,} pairs of templates, {kinds}"

    def genuine(self, subjects: dict[int, str] | None) -> np.ndarray:
        """bool[m], whether both templates of a pair are of one subject: as the list says it, else by the subjects.

        Raises:
            InputError: neither says it, or a template is of nobody.
        """
        if self.same is not None:
            return self.same
        if subjects is None:
            raise InputError(
                f"{self.path} does not say which pairs are genuine (column same), nor does a list of templates (subject_id)"
            )
        known = np.array(sorted(subjects), np.int64)
        _, (who,) = numbered([subjects[template] for template in known.tolist()])
        places = []
        for side in (self.first, self.second):
            place = np.minimum(np.searchsorted(known, side), len(known) - 1)
            unknown = np.flatnonzero(known[place] != side)
            if len(unknown):
                raise InputError(f"{self.path}: template {side[unknown[0]]} is in no list of templates")
            places.append(who[place])
        return places[0] == places[1]


def read_template_list(path: Path) -> TemplateImages | TemplatePairs:
    """A list of images of templates, or of pairs of templates, told apart by its columns.

    Raises:
        InputError: missing, damaged, columns that are neither, or ids that are no whole numbers.
    """
    with in_one_line(path):
        return _list(path)


def _list(path: Path) -> TemplateImages | TemplatePairs:
    table = _without_header(path) if _is_bare(path) else _lower(read_list(path, ()))
    names = table.column_names
    first, second = _one_of(names, FIRST), _one_of(names, SECOND)
    if len(table) == 0:
        raise InputError(f"{path} has no rows; copy it again")
    if first and second:
        same = truths(path, table["same"]) if "same" in names else None
        return TemplatePairs(path, _whole(path, table, first), _whole(path, table, second), same)
    image, medium = _one_of(names, IMAGE), _one_of(names, MEDIUM)
    if not (image and medium and "template_id" in names):
        raise InputError(
            f"{path} is no list of templates: it has {', '.join(names)[:200]}; images need template_id, {IMAGE[0]} and "
            f"{MEDIUM[0]} (or {MEDIUM[1]}), pairs {FIRST[0]} and {SECOND[0]}"
        )
    files, (row,) = numbered(filled(path, table, image))
    _, (media,) = numbered(filled(path, table, medium))
    subject = filled(path, table, "subject_id").to_pylist() if "subject_id" in names else None
    return TemplateImages(path, files, row, _whole(path, table, "template_id"), media, subject)


def _is_bare(path: Path) -> bool:
    """Whether its first line is data."""
    if path.suffix.lower() == ".txt":
        return True
    if path.suffix.lower() == ".parquet" or not path.is_file():
        return False
    with path.open("rb") as file:
        words = file.readline(1 << 16).strip().split(b",")
    return len(words) in (2, 3) and all(word.strip().isdigit() for word in words)


def _without_header(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a list of templates or of pairs of them")
    with path.open("rb") as file:
        line = file.readline(1 << 16).strip()
    delimiter = "," if b"," in line else "\t" if b"\t" in line else " "
    words = [word.strip() for word in line.split(delimiter.encode())]
    numbers = [word.isdigit() for word in words]
    names = {(True, True): PAIR_LIST[:2], (True, True, True): PAIR_LIST, (False, True, True): FACE_LIST}.get(
        tuple(numbers)
    )
    if names is None:
        raise InputError(
            f"{path}, line 1: '{line[:60].decode('utf-8', 'replace')}' is neither 'image template medium' nor "
            "'template template same'"
        )
    read = csv.ReadOptions(column_names=list(names))
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        return csv.read_csv(path, read, csv.ParseOptions(delimiter=delimiter), convert)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"cannot parse {path}: {str(error).splitlines()[0]}; give rows of one length"
        ) from error


def _lower(table: pa.Table) -> pa.Table:
    return table.rename_columns([name.strip().lower() for name in table.column_names])


def _one_of(names: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _whole(path: Path, table: pa.Table, name: str) -> np.ndarray:
    text = filled(path, table, name)
    digits = pc.match_substring_regex(text, r"^\d{1,18}$")
    if not pc.all(digits).as_py():
        row = digits.index(False).as_py()
        raise InputError(f"{path}, row {row + 1}: '{name}' is '{text[row].as_py()[:40]}', no whole number")
    return text.cast(pa.int64()).to_numpy()

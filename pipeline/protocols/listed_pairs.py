"""Lists of pairs as arrays: InsightFace's .bin, LFW's pairs.txt, and tables of one's own, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ..lists.plain_pickle import read_plain
from .listed_images import listed_manifest
from .request import ProtocolRequest

FOLDS = 10
"""Of a list that names none: of equal size, in its order."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Of LFW's images, whose list gives numbers alone."""
COLUMNS = ("first", "second", "same")


@dataclass(frozen=True)
class ListedPairs:
    """Pairs of images, each image once.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "pairs.csv")
    >>> _ = path.write_text("first,second,same\\na.jpg,b.jpg,1\\na.jpg,c.jpg,0\\n")
    >>> listed = ListedPairs.read(ProtocolRequest(pairs=path))
    >>> listed.names, listed.first.tolist(), listed.second.tolist(), listed.same.tolist()
    (['a.jpg', 'b.jpg', 'c.jpg'], [0, 0], [1, 2], [True, False])
    """

    names: list[str]
    """Of the images, as the list has them."""
    manifest: Manifest
    """Where they lie."""
    first: np.ndarray
    """int64[n], places in `names`."""
    second: np.ndarray
    """int64[n]."""
    same: np.ndarray
    """bool[n]."""
    fold: np.ndarray
    """int64[n]."""
    identities: tuple[np.ndarray, np.ndarray] | None
    """int64[n] each: who is in the first and in the second image; None where the list does not say."""

    @classmethod
    def read(cls, request: ProtocolRequest) -> ListedPairs:
        """Read the list that `--pairs` names.

        Raises:
            InputError: missing, damaged, of no such kind, or naming images that are not there.
        """
        path = request.pairs or Path()
        if not path.is_file():
            raise InputError(f"--pairs {path}: there is no such file")
        readers = {".bin": _read_bin, ".txt": _read_lfw, ".csv": _read_table, ".parquet": _read_table}
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise InputError(
                f"--pairs {path}: give InsightFace's .bin, LFW's pairs.txt, a .csv or a .parquet"
            )
        listed = reader(path, request.root)
        if len(listed.same) == 0:
            raise InputError(f"{path} lists no pairs")
        return listed

    def where(self, mask: np.ndarray) -> ListedPairs:
        """The pairs where `mask`, bool[n], holds."""
        who = self.identities and (self.identities[0][mask], self.identities[1][mask])
        return replace(
            self, first=self.first[mask], second=self.second[mask], same=self.same[mask], fold=self.fold[mask],
            identities=who,
        )  # fmt: skip


def _read_bin(path: Path, root: Path | None) -> ListedPairs:
    if root is not None:
        raise InputError(f"--root goes with a list of names; {path} holds its images itself")
    found = read_plain(path.read_bytes(), str(path))
    if not (
        isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(part, list) for part in found)
    ):
        raise InputError(f"{path} is no list of InsightFace's: a list of images and a list of true or false")
    images, same = found
    contents = [image if isinstance(image, bytes) else getattr(image, "raw", None) for image in images]
    if len(contents) != 2 * len(same) or None in contents:
        raise InputError(
            f"{path} holds {len(contents):,} images for {len(same):,} pairs; there are two for each"
        )
    place = np.arange(len(contents))
    names = [f"{path.name}#{number}" for number in place]
    manifest = listed_manifest(path, None, [bytes(image) for image in contents])
    flags = np.array([bool(value) for value in same], bool)
    return ListedPairs(names, manifest, place[::2], place[1::2], flags, _in_order(len(same)), None)


def _read_lfw(path: Path, root: Path | None) -> ListedPairs:
    """`FOLDS PAIRS` or `PAIRS`, then for each fold so many lines `NAME I J` and so many `NAME I NAME J`."""
    lines = [
        line.split()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    if root is None:
        raise InputError(
            f"{path} names images by person and number; give the folder of the persons with --root"
        )
    head, *rows = lines or [[]]
    if not 1 <= len(head) <= 2 or not all(word.isdecimal() for word in head):
        raise InputError(
            f"{path}: its first line is no number of pairs, as LFW's pairs.txt begins; name a .csv otherwise"
        )
    pairs, same, people = [], [], []
    for number, row in enumerate(rows, 2):
        if len(row) not in (3, 4) or not (row[1].isdecimal() and row[-1].isdecimal()):
            raise InputError(
                f"{path}, line {number}: '{' '.join(row)[:80]}' is neither NAME I J nor NAME I NAME J"
            )
        who = (row[0], row[0] if len(row) == 3 else row[2])
        same.append(who[0] == who[1])
        people.append(who)
        pairs.append(
            tuple(
                f"{name}/{name}_{int(image):04}" for name, image in zip(who, (row[1], row[-1]), strict=True)
            )
        )
    per_fold = 2 * int(head[-1])
    fold = np.arange(len(pairs)) // max(per_fold, 1) if len(head) == 2 else _in_order(len(pairs))
    if len(head) == 2 and len(pairs) != int(head[0]) * per_fold:
        raise InputError(
            f"{path} says {head[0]} folds of 2 x {head[1]} pairs, but lists {len(pairs):,}; copy it again"
        )
    listed = _indexed(path, [first for first, _ in pairs], [second for _, second in pairs])
    names, first, second = listed
    found = [_with_suffix(root, name) for name in names]
    names = [str(Path(place).relative_to(root)) for place in found]
    manifest = listed_manifest(path, [str(Path(place).resolve()) for place in found], None)
    known = np.unique(np.array(people), return_inverse=True)[1].reshape(-1, 2)
    return ListedPairs(names, manifest, first, second, np.array(same, bool), fold, (known[:, 0], known[:, 1]))


def _with_suffix(root: Path, name: str) -> str:
    for suffix in SUFFIXES:
        if (root / (name + suffix)).is_file():
            return str(root / (name + suffix))
    raise InputError(
        f"{root}/{name}{SUFFIXES[0]} does not exist, nor with another suffix; --root is the folder of the persons"
    )


def _read_table(path: Path, root: Path | None) -> ListedPairs:
    """Columns first, second, same, and perhaps fold, identity_first and identity_second."""
    try:
        table = pq.read_table(path) if path.suffix.lower() == ".parquet" else pa.csv.read_csv(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is no readable table: {str(error).splitlines()[0]}") from error
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise InputError(
            f"{path} has no column '{missing[0]}'; it needs first, second (images) and same (true or false)"
        )
    names, first, second = _indexed(
        path, *(table[name].cast(pa.string()).to_pylist() for name in COLUMNS[:2])
    )
    fold = _column(path, table, "fold")
    who = [_column(path, table, name) for name in ("identity_first", "identity_second")]
    together = None
    if who[0] is not None and who[1] is not None:
        codes = np.unique(np.concatenate(who), return_inverse=True)[1]
        together = (codes[: len(first)], codes[len(first) :])
    folder = (root or path.parent).resolve()
    places = [name if "://" in name else str(folder / name) for name in names]
    fold = _in_order(len(first)) if fold is None else np.unique(fold, return_inverse=True)[1]
    return ListedPairs(
        names, listed_manifest(path, places, None), first, second, _flags(path, table["same"]), fold, together
    )


def _flags(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    known = {"1": True, "0": False, "true": True, "false": False, "1.0": True, "0.0": False}
    words = pc.utf8_lower(column.cast(pa.string())).to_pylist()
    for number, word in enumerate(words):
        if word not in known:
            raise InputError(f"{path}, pair {number}: same is '{word}'; give true or false, or 1 or 0")
    return np.array([known[word] for word in words], bool)


def _column(path: Path, table: pa.Table, name: str) -> np.ndarray | None:
    if name not in table.column_names:
        return None
    if table[name].null_count:
        raise InputError(
            f"{path}: column {name} has {table[name].null_count:,} empty values; fill them, or drop it"
        )
    return np.array(table[name].to_pylist())


def _indexed(
    path: Path, first: Sequence[Any], second: Sequence[Any]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    if None in first or None in second:
        raise InputError(f"{path}: a pair has no image in column first or second")
    place: dict[str, int] = {}
    columns = [
        np.array([place.setdefault(name, len(place)) for name in side], np.int64)
        for side in zip(*zip(first, second, strict=True), strict=True)
    ]
    empty = np.empty(0, np.int64)
    return list(place), *(columns or (empty, empty))  # pyright: ignore[reportReturnType]


def _in_order(pairs: int) -> np.ndarray:
    folds = min(FOLDS, max(pairs, 1))
    return np.repeat(np.arange(folds), pairs // folds + (np.arange(folds) < pairs % folds))

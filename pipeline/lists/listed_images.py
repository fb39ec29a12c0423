"""Images that a list names or holds, as a manifest of their own, and pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from ...mining.manifest import Manifest


@dataclass(frozen=True)
class PairList:
    """Pairs of images, and whether both of a pair are of one identity.

    >>> manifest = listed_manifest(Path("pairs.csv"), ["a.jpg", "b.jpg"])
    >>> pairs = PairList(manifest, ["a.jpg", "b.jpg"], np.array([0]), np.array([1]), np.array([True]))
    >>> print(pairs.in_words())
    pairs.csv: 1 pair of 2 images, 1 genuine (100.0 %), no folds
    """

    manifest: Manifest
    """A row for each distinct image: where it lies, or itself."""
    names: list[str]
    """What the list calls each image; a file of embeddings calls it so in its column `image`, or by its whole path."""
    first: np.ndarray
    """int64[n], the row of each pair's first image."""
    second: np.ndarray
    """int64[n]."""
    same: np.ndarray
    """bool[n]."""
    fold: np.ndarray | None = None
    """int64[n], from 0; None where the list has no folds of its own."""
    identities: tuple[np.ndarray, np.ndarray] | None = None
    """int64[n] and int64[n], who is in the first and in the second image; None where the list does not say."""
    notes: tuple[str, ...] = ()
    """What else was found."""

    def in_words(self) -> str:
        """What was read, in a line."""
        genuine = int(self.same.sum())
        parts = f"{len(self.same):,} pair{'s' * (len(self.same) != 1)} of {len(self.names):,} images"
        share = f"{genuine:,} genuine ({genuine / len(self.same):.1%})".replace("%", " %")
        folds = "no folds" if self.fold is None else f"{len(np.unique(self.fold)):,} folds"
        return "; ".join([f"{self.manifest.path}: {parts}, {share}, {folds}", *self.notes])


def listed_manifest(
    path: Path, uris: Sequence[str] | pa.Array, images: pa.ChunkedArray | None = None
) -> Manifest:
    """A manifest in memory of a list's images, in the list's order; nobody says whom they show.

    >>> listed_manifest(Path("pairs.csv"), ["a.jpg"]).table["uri"].to_pylist()
    ['a.jpg']

    Args:
        path: the list; relative uris begin in its folder. uris: of the images. images: themselves, where the list holds them.
    """
    n = len(uris)
    split = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["test"]))
    columns = {
        "identity": pa.array(np.full(n, ""), pa.string()),
        "identity_id": pa.array(np.zeros(n, np.int32)),
        "uri": pa.array(uris, pa.string()).dictionary_encode(),
        "offset": pa.nulls(n, pa.int64()),
        "length": pa.nulls(n, pa.int64()),
        "split": split,
        "keep": pa.array(np.ones(n, bool)),
    }
    if images is not None:
        columns["image"] = images
    return Manifest(path, pa.table(columns), fingerprint="")


def numbered(*columns: Sequence[str] | pa.Array) -> tuple[list[str], list[np.ndarray]]:
    """Distinct values of several columns in order of appearance, and int64 numbers of them for each column.

    >>> numbered(["a", "b"], ["b", "c"])
    (['a', 'b', 'c'], [array([0, 1]), array([1, 2])])
    """
    chunks = [pa.array(column, pa.string()) for column in columns]
    encoded = pa.chunked_array(chunks).combine_chunks().dictionary_encode()
    number = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(chunk) for chunk in chunks])
    return encoded.dictionary.to_pylist(), np.split(number, ends[:-1])


def refuse_one_kind(path: Path, same: np.ndarray) -> None:
    """Refuse a list of no pairs.

    >>> refuse_one_kind(Path("pairs.csv"), np.array([True]))

    Raises:
        InputError: there is none.
    """
    if not len(same):
        raise InputError(f"{path} lists no pairs; give a list of pairs of one identity and of different ones")


def first_of_missing(paths: Sequence[Path]) -> tuple[int, Path] | None:
    """How many of these files are not there, and the first of them; None where all are.

    >>> first_of_missing([Path("nowhere.jpg")])
    (1, PosixPath('nowhere.jpg'))
    """
    missing = [path for path in paths if not path.is_file()]
    return (len(missing), missing[0]) if missing else None


def way_to_missing(path: Path, names: Sequence[str]) -> str:
    """What to do about a missing image: a path that `names`, what the list calls its images, has whole is not moved by `--root`.

    >>> way_to_missing(Path("/faces/a.jpg"), ["a.jpg"])
    'name their folder with --root'
    >>> way_to_missing(Path("/faces/a.jpg"), ["/faces/a.jpg"])
    'the list has it as an absolute path, which --root does not move: write the list anew'
    """
    if str(path) in names:
        return "the list has it as an absolute path, which --root does not move: write the list anew"
    return "name their folder with --root"

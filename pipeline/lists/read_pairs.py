"""Which reader a list of pairs gets, by its name."""

from __future__ import annotations

from pathlib import Path

from ...mining.errors import InputError
from .insightface_bin import read_insightface_bin
from .lfw_pairs import read_lfw_pairs
from .listed_images import PairList
from .pair_table import read_pair_table

TABLES = (".csv", ".tsv", ".parquet")


def read_pair_list(path: Path, root: Path | None = None) -> PairList:
    """InsightFace's .bin, LFW's .txt, or a table.

    Args:
        root: where the images lie; None: beside the list. A .bin holds its images.

    Raises:
        InputError: nothing reads it, it is damaged, or `root` is given for a .bin.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the list of pairs in it, and the folder with --root")
    if root is not None and not root.is_dir():
        raise InputError(f"--root {root} is no folder; name the one that the images lie in")
    if suffix == ".bin":
        if root is not None:
            raise InputError(f"--root says nothing about {path}, which holds its images; leave it out")
        return read_insightface_bin(path)
    if suffix == ".txt":
        return read_lfw_pairs(path, root)
    if suffix in TABLES:
        return read_pair_table(path, root)
    raise InputError(
        f"{path} is no list of pairs; give InsightFace's .bin, LFW's pairs.txt, or a {' '.join(TABLES)}"
    )

"""Flat, IVF or HNSW: which kind of index suits so many rows, and why.

- flat: no index at all; every row is compared. Exact.
- hnsw: a graph that leads from row to row towards the query (Malkov and Yashunin 2018). It lies in memory and is built
  anew when rows change.
- ivf: rows as short codes, in lists by their nearest centroid; a few lists are compared. It is a tenth as large as the
  rows, and its centroids serve on when rows change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError

Kind = Literal["flat", "ivf", "hnsw"]

FLAT_ROWS, HNSW_ROWS = 20_000, 100_000
"""Up to so many rows each suits best."""
FEWEST_FOR_LISTS = 39
"""Rows for each list, below which FAISS calls the centroids badly trained."""
FEWEST_FOR_CODES = 16
"""Rows that codes of four bits are fitted on at least: FAISS takes no fewer."""


@dataclass(frozen=True)
class ChosenKind:
    """A kind of index for some rows."""

    kind: Kind
    lists: int
    """Lists of IVF; else 0."""
    reason: str
    """Behind its name, for a person."""


def choose_kind(rows: int, asked: str = "auto") -> ChosenKind:
    """The kind that suits `rows`, or the one that was asked for; flat where there are too few rows for the codes of IVF.

    Raises:
        InputError: a kind that is not known.

    Example:
        >>> choose_kind(2_000).kind, choose_kind(1_000_000).kind, choose_kind(1_000_000).lists
        ('flat', 'ivf', 4096)
        >>> choose_kind(2_000, "hnsw").reason
        'as asked for'
    """
    if asked not in ("auto", *get_args(Kind)):
        raise InputError(f"--kind {asked}: give auto, {', '.join(get_args(Kind))}")
    kind: Kind = "flat" if rows <= FLAT_ROWS else "hnsw" if rows <= HNSW_ROWS else "ivf"
    reason = {
        "flat": f"{rows:,} rows, at most {FLAT_ROWS:,}: comparing all of them takes a millisecond, and is exact",
        "hnsw": f"{rows:,} rows, at most {HNSW_ROWS:,}: a graph is built in a minute and lies in memory",
        "ivf": f"{rows:,} rows, above {HNSW_ROWS:,}: lists of short codes are built sooner than a graph and take a tenth of its memory",
    }[kind]
    if asked == "ivf" and rows < FEWEST_FOR_CODES:
        reason = f"{rows:,} rows, fewer than the {FEWEST_FOR_CODES} that the codes of ivf need"
        return ChosenKind("flat", 0, reason)
    if asked != "auto":
        kind, reason = _named(asked), "as asked for"
    return ChosenKind(kind, lists_for(rows) if kind == "ivf" else 0, reason)


def lists_for(rows: int) -> int:
    """How many lists: a power of two near four times the root of the rows, each with enough of them.

    >>> lists_for(1_000_000), lists_for(500), lists_for(10)
    (4096, 8, 1)
    """
    wanted = min(4 * rows**0.5, rows / FEWEST_FOR_LISTS)
    return 1 << max(0, round(wanted).bit_length() - 1) if wanted >= 1 else 1


def _named(asked: str) -> Kind:
    return next(kind for kind in get_args(Kind) if kind == asked)

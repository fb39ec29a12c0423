"""Answers as a table for people, JSON, Parquet or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...mining.artifacts import whole_file
from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE
from ..console import aligned
from ..output_file import FileKind, check_output
from .answers import Answer
from .answers_page import ANSWERS_PAGE

UNKNOWN = "unknown"
COLUMNS = ("query", "rank", "identity", "similarity", "image", "known")


def _has_our_columns(path: Path) -> bool:
    if path.suffix.lower() == ".csv":
        wanted = ",".join(f'"{name}"' for name in COLUMNS).encode()
        with open(path, "rb") as file:
            return file.readline(len(wanted) + 2).strip() == wanted
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(path).names) == COLUMNS
    except DAMAGE:
        return False


KINDS = {
    **{suffix: FileKind("list of answers", (suffix,), _has_our_columns) for suffix in (".parquet", ".csv")},
    **dict.fromkeys(ANSWERS_PAGE.suffixes, ANSWERS_PAGE),
}


def check_out(out: Path, queries: Iterable[Path] = ()) -> None:
    """Refuse a file of another kind, or another's place, before anything is searched.

    Raises:
        InputError: its suffix is not known, or something else would be lost.
    """
    kind = KINDS.get(out.suffix.lower())
    if kind is None:
        raise InputError(f"--out {out}: name a file that ends in {', '.join(KINDS)}")
    check_output(out, kind, queries)


def as_table(answers: Sequence[Answer]) -> str:
    """Aligned columns; of an unknown query the nearest match stands in brackets.

    >>> from .answers import Match
    >>> print(as_table([Answer("a.jpg", True, [Match("ann", 0.91, "ann/1.jpg")]), Answer("b.jpg", False, [])]))
    query  rank  identity  similarity  image
    --------------------------------------------
    a.jpg     1  ann           0.9100  ann/1.jpg
    b.jpg        unknown
    """
    rows = [["query", "rank", "identity", "similarity", "image"]]
    for answer in answers:
        if not answer.matches:
            rows.append([answer.query, "", UNKNOWN, "", ""])
        for rank, match in enumerate(answer.matches, 1):
            identity = match.identity if answer.known else f"{UNKNOWN} (nearest: {match.identity})"
            shown = str(rank) if answer.known else ""
            rows.append(
                [answer.query if rank == 1 else "", shown, identity, f"{match.similarity:.4f}", match.image]
            )
    return aligned(rows, text=(0, 2, 4))


def as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """One object for each query; `identity` is null where it is unknown."""
    return [
        {
            "query": answer.query,
            "identity": answer.matches[0].identity if answer.known and answer.matches else None,
            "known": answer.known,
            "matches": [
                {
                    "rank": rank,
                    "identity": match.identity,
                    "similarity": round(match.similarity, 6),
                    "image": match.image,
                }
                for rank, match in enumerate(answer.matches, 1)
            ],
        }
        for answer in answers
    ]


def write_rows(answers: Sequence[Answer], out: Path) -> None:
    """Write a row for each match to a .parquet or .csv file: query, rank, identity, similarity, image, known.

    Raises:
        InputError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    rows = [
        (answer.query, rank, match.identity, match.similarity, match.image, answer.known)
        for answer in answers
        for rank, match in enumerate(answer.matches, 1)
    ]
    types = (pa.string(), pa.int32(), pa.string(), pa.float32(), pa.string(), pa.bool_())
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)],
        list(COLUMNS),
    )
    with whole_file(out) as aside:
        if out.suffix.lower() == ".csv":
            pyarrow.csv.write_csv(table, aside)
        else:
            pq.write_table(table, aside, compression="zstd")

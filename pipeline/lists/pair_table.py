"""A CSV, TSV or Parquet file of pairs: columns image_a, image_b, same, and fold if there are folds."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import in_one_line, open_parquet
from ...mining.remote import is_url
from ..tables.csv_header import header_problem
from .listed_images import (
    PairList,
    first_of_missing,
    listed_manifest,
    numbered,
    refuse_one_kind,
    way_to_missing,
)

COLUMNS = {"first": "image_a", "second": "image_b", "same": "same", "fold": "fold"}
TRUE, FALSE = ("1", "true", "yes", "t", "y", "1.0"), ("0", "false", "no", "f", "n", "0.0", "-1")
OTHERS = ("identity_a", "identity_b")
"""Who is in them, if the table says it: intervals then resample identities."""


def read_pair_table(path: Path, root: Path | None = None) -> PairList:
    """Pairs of a table; relative paths begin in `root`, or in the folder of the table.

    Columns: `image_a`, `image_b` (paths, or what a file of embeddings calls the images), `same` (true/false, 1/0),
    optional `fold`, `identity_a` and `identity_b`. Others are left aside, and said.

    Raises:
        InputError: missing, damaged, a column missing, a value that is no such thing, or identities that contradict `same`.
    """
    with in_one_line(path):
        return _pairs(path, root)


def _pairs(path: Path, root: Path | None) -> PairList:
    table = read_list(path, tuple(COLUMNS.values())[:3])
    first, second = (filled(path, table, name) for name in ("image_a", "image_b"))
    same = truths(path, table["same"])
    refuse_one_kind(path, same)
    names, (a, b) = numbered(first, second)
    fold = None
    if "fold" in table.column_names:
        folds, (fold,) = numbered(filled(path, table, "fold"))
        if len(folds) < 2:
            raise InputError(
                f"{path}: all pairs are in fold {folds[0]}; give two folds or more, or no column fold"
            )
    identities = None
    if set(OTHERS) <= set(table.column_names):
        _, (who_a, who_b) = numbered(*(filled(path, table, name) for name in OTHERS))
        wrong = np.flatnonzero((who_a == who_b) != same)
        if len(wrong):
            raise InputError(
                f"{path}, row {wrong[0] + 1}: same is {bool(same[wrong[0]])}, its identities say otherwise"
            )
        identities = (who_a, who_b)
    base = path.parent if root is None else root
    uris = [name if is_url(name) else str((base / name).absolute()) for name in names]
    unused = [name for name in table.column_names if name not in (*COLUMNS.values(), *OTHERS)]
    notes = (f"not used: {', '.join(unused[:6])}",) if unused else ()
    return PairList(listed_manifest(path, uris), names, a, b, same, fold, identities, notes)


def missing_images(pairs: PairList) -> str | None:
    """What to say if images of a list are not where it says; None where all are there. For a network that opens them.

    >>> missing_images(PairList(listed_manifest(Path("p.csv"), []), [], *[np.empty(0, int)] * 3)) is None
    True
    """
    uris = pairs.manifest.table["uri"].cast(pa.string()).to_pylist()
    missing = first_of_missing([Path(uri) for uri in uris if not is_url(uri)])
    if missing is None or "image" in pairs.manifest.table.column_names:
        return None
    return (
        f"{missing[0]:,} of {len(uris):,} images of {pairs.manifest.path} are missing, the first: {missing[1]}; "
        f"{way_to_missing(missing[1], pairs.names)}"
    )


def read_list(path: Path, needed: tuple[str, ...]) -> pa.Table:
    """A CSV, TSV or Parquet file that has these columns; of a CSV all columns are text.

    Raises:
        InputError: it is missing or damaged, or has no such column, or has one twice.
    """
    if path.suffix.lower() == ".parquet":
        file = open_parquet(path)
        names = file.schema_arrow.names
    elif not path.exists():
        raise InputError(
            f"{path} does not exist; give a CSV or Parquet file with columns {', '.join(needed)}"
        )
    else:
        names = _csv(path, None).column_names
    for name in needed:
        if names.count(name) != 1:
            problem = "several columns" if name in names else "no column"
            why = header_problem(names, _delimiter(path)) if path.suffix.lower() != ".parquet" else ""
            advice = why or "rename its columns"
            raise InputError(f"{path} has {problem} '{name}' among {', '.join(names)[:200]}; {advice}")
    if len(set(names)) < len(names):
        raise InputError(f"{path} has columns of one name; rename them: {', '.join(names)[:200]}")
    if path.suffix.lower() != ".parquet":
        return _csv(path, names)
    try:
        return file.read()  # pyright: ignore[reportPossiblyUnboundVariable]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}; copy or make it again") from error


def filled(path: Path, table: pa.Table, name: str) -> pa.Array:
    """A column as text, with a value in each row.

    Raises:
        InputError: an empty value, or a column that is no text and no numbers.
    """
    try:
        text = table[name].cast(pa.string()).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        raise InputError(
            f"{path}: column '{name}' is of {table[name].type}, neither text nor numbers"
        ) from error
    text = pc.utf8_trim_whitespace(text)
    empty = pc.fill_null(pc.equal(text, ""), True)
    if pc.any(empty).as_py():
        row = empty.index(True).as_py() + 1
        raise InputError(f"{path}, row {row}: '{name}' is empty; fill it in, or leave the row out")
    return text


def truths(path: Path, same: pa.ChunkedArray) -> np.ndarray:
    """A column `same` of true and false, however it writes them: bool[n].

    Raises:
        InputError: a value that is neither.
    """
    text = pc.utf8_lower(pc.utf8_trim_whitespace(same.cast(pa.string()).combine_chunks()))
    yes, no = (pc.is_in(text, pa.array(words)) for words in (TRUE, FALSE))
    neither = pc.invert(pc.or_(yes, no))
    if pc.any(neither).as_py():
        row = neither.index(True).as_py()
        raise InputError(
            f"{path}, row {row + 1}: 'same' is '{str(text[row].as_py())[:40]}'; give 1 or 0, true or false"
        )
    return yes.to_numpy(zero_copy_only=False)


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _csv(path: Path, names: list[str] | None) -> pa.Table:
    types = dict.fromkeys(names or (), pa.string())
    parse = csv.ParseOptions(delimiter=_delimiter(path))
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    try:
        if names is None:
            with csv.open_csv(path, parse_options=parse) as reader:
                _ = reader.schema.names
                return reader.schema.empty_table()
        return csv.read_csv(path, parse_options=parse, convert_options=convert)
    except (OSError, ValueError, pa.ArrowException) as error:
        advice = "save it as UTF-8, with a header, rows of one length and closed quotes"
        raise InputError(f"cannot parse {path}: {str(error).splitlines()[0]}; {advice}") from error

"""A .lst: a list of images without a header, as MXNet's im2rec and InsightFace's face2rec2 read it."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE
from ...mining.remote import in_words
from ..rows.image_spool import ImageSpool
from ..tables.label_text import text_column
from .listing import Listing
from .options import SourceOptions, Track
from .places import folder_of, open_place, placed_from
from .source_bytes import opened

_NUMBER = re.compile(r"-?\d+(\.\d*)?")


def list_lst(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """List the images of a .lst: identity and uri.

    Fields are apart by tabs: number, label and perhaps more labels, path (im2rec); or whether it is aligned, path,
    label and perhaps a box (InsightFace). Which it is shows the first line. Further labels and the box are not used,
    which is said.

    Raises:
        InputError: neither of them, damaged, not UTF-8, lines of other lengths.
    """
    try:
        with opened(source) as data:
            fields = data[: 1 << 16].partition(b"\n")[0].rstrip(b"\r").decode().split("\t")
    except UnicodeDecodeError as error:
        raise InputError(f"{in_words(source)} is not UTF-8; write it again as UTF-8") from error
    numeric = [bool(_NUMBER.fullmatch(field)) for field in fields]
    if len(fields) >= 3 and numeric[0] and all(numeric[1:-1]) and not numeric[-1]:
        label, path = 1, len(fields) - 1
    elif len(fields) >= 3 and numeric[0] and not numeric[1] and numeric[2]:
        label, path = 2, 1
    else:
        raise InputError(
            f"{in_words(source)} begins with {' | '.join(fields)[:80]!r}: neither number, label, path (im2rec) nor aligned, path, "
            "label (InsightFace), apart by tabs; make a CSV with columns path and label of it"
        )
    names = [f"field {number}" for number in range(1, len(fields) + 1)]
    kept = {names[label]: pa.float64(), names[path]: pa.large_string()}
    try:
        table = csv.read_csv(
            open_place(source),
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            csv.ConvertOptions(include_columns=list(kept), column_types=kept),
        )
    except InputError:
        raise
    except DAMAGE as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot parse {in_words(source)}: {first}; write it again as UTF-8, with lines alike"
        ) from error
    place = placed_from(options.root or folder_of(source))
    uri = pa.chunked_array(map(place, table[names[path]].chunks), pa.large_string())
    identity = text_column(table[names[label]], f"{source}: {names[label]}")
    kind = "im2rec" if label == 1 else "InsightFace"
    reading = f"identity: {names[label]}; path: {names[path]} ({kind}); split: none; group: none"
    if others := [name for place, name in enumerate(names) if place not in (0, label, path)]:
        reading += f"; not used: {', '.join(others[:6])}{' and more' if len(others) > 6 else ''}"
    boxed = kind == "InsightFace" and len(names) >= 7
    note = "boxes in fields 4 to 7 are not cut out: make a CSV with columns path, label, x_1, y_1, x_2, y_2 for that"
    rows = pa.table({"identity": identity, "uri": uri})
    return Listing(rows, reading, (note,) if boxed else (), places=(place,))

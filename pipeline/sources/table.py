"""A CSV or Parquet file that lists images, as a table with a row per image in one form.

Which column says what is decided in `columns`; images inside the file pass to a spool.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE, open_parquet
from ...mining.remote import in_words
from .columns import BOX, Columns
from .image_spool import ImageSpool
from .label_text import class_names_of
from .listing import Listing, junk_note, not_junk, refuse_blank, streamed
from .options import SourceOptions, Track
from .places import folder_of, open_place, placed_from

IMAGE_NAMES = ("image", "img", "image_bytes", "jpg", "jpeg", "png")
"""Names of binary columns that hold images."""


def list_csv(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """Read what a CSV (or TSV) lists: columns identity and uri, and all others of a `Listing` where it has them.

    Labels stay as they are written ("007", "NA"), but for a column of nothing than numbers with `.0`, as pandas
    writes integers beside a missing one; within quotes they may hold commas and newlines. The rows are a stream.

    Raises:
        InputError: damaged, not UTF-8, or without a column for the identity or the path.
    """
    types: dict[str, pa.DataType] = {}

    def parsed(names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The columns of those names (none: of `types`), as they are parsed; first of all a table without rows."""
        delimiter = "\t" if source.suffix.lower() == ".tsv" else ","
        read, parse = (
            csv.ReadOptions(block_size=1 << 24),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        )
        convert = csv.ConvertOptions(include_columns=names or list(types), column_types=types)
        try:
            with csv.open_csv(open_place(source), read, parse, convert) as reader:
                yield reader.schema.empty_table()
                yield from (pa.Table.from_batches([batch]) for batch in reader)
        except DAMAGE as error:
            advice = "save it as UTF-8, with a header and closed quotes"
            raise InputError(f"cannot parse {source}: {_one_line(error)}; {advice}") from error

    columns = Columns.find(next(parsed()).schema.names, options, source)
    types |= {name: pa.large_string() for name in columns.names.values()}
    types |= {columns.names[role]: pa.float64() for role in BOX if role in columns.names}
    types |= {columns.names[role]: pa.int64() for role in ("offset", "length") if role in columns.names}
    name = columns.names["identity"]
    floats = _all_point_zero(table[name] for table in parsed([name]))
    place = placed_from(options.root or folder_of(source))

    def rows() -> Iterator[pa.Table]:
        for table in parsed():
            typed = columns.typed(table, source)
            if floats:
                identity = pc.replace_substring_regex(typed["identity"], r"\.0$", "")
                typed = typed.set_column(typed.schema.get_field_index("identity"), "identity", identity)
            yield _placed(typed, place)

    note = f"all of '{name}' are numbers with .0, read as integers: 1.0 is 1"
    tables = rows()
    return Listing(streamed(next(tables).schema, tables), columns.reading(), (note,) if floats else ())


def list_parquet(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """Read what a Parquet file lists, as `list_csv` does; images that it holds go to `spool`, one per row.

    Such images are found in a binary column `image`, or in a struct with `bytes` as Hugging Face datasets writes
    it. Their uri is only a name: the table's path column, else the struct's `path`, else empty. Numbers of a
    ClassLabel become the names of its classes.

    Raises:
        InputError: damaged, or a column missing or of another type.
    """
    file = open_parquet(source)
    empty = file.schema_arrow.empty_table().flatten()  # a struct's fields become columns: image.bytes
    image = "" if options.path_column else _image_column(empty.schema, options, source)
    columns = Columns.find(empty.schema.names, options, source, image)
    wanted = list(columns.names.values())
    identity = columns.names["identity"]
    class_names = class_names_of(file.schema_arrow, identity)
    class_names = class_names if kinds.is_integer(empty.schema.field(identity).type) else None
    place = _as_it_is if image else placed_from(options.root or folder_of(source))
    nothing = _placed(columns.typed(empty.select(wanted), source), place)
    reading = columns.reading(image) + ("; names of the classes: the file's own" if class_names else "")
    junk = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal junk
        size, seen = 1_024 if image else 65_536, 0
        try:
            for batch in file.iter_batches(size, columns=[*wanted, image] if image else wanted):
                table = pa.Table.from_batches([batch]).flatten()
                rows = columns.typed(table.select(wanted), source, class_names)
                refuse_blank(in_words(source), rows, seen)  # junk is still there and counts
                seen += len(rows)
                if image:
                    kept = not_junk(rows["identity"], options)
                    rows = rows.filter(kept)
                    spool.add(table[image].filter(kept).combine_chunks())
                    junk += len(table) - len(rows)
                yield _placed(rows, place)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{source} is damaged: {_one_line(error)}; copy or make it again") from error

    if not image:
        return Listing(streamed(nothing.schema, tables()), reading)
    listed = [nothing]

    def each_row() -> Iterator[int]:
        for rows in tables():
            listed.append(rows)
            yield from range(len(rows))

    deque(progress(each_row()), maxlen=0)  # runs through them
    return Listing(pa.concat_tables(listed), reading, tuple(junk_note(junk, options)), counted=True)


def _image_column(schema: pa.Schema, options: SourceOptions, source: Path) -> str:
    """The column of images that lie inside the table; empty where there is none."""
    found = [field.name for field in schema if _holds_images(field)]
    if options.image_key is not None:
        named = [name for name in (options.image_key, f"{options.image_key}.bytes") if name in schema.names]
        if not named:
            raise InputError(
                f"{source} has no column '{options.image_key}' of images; it has {', '.join(schema.names)}"
            )
        return named[0]
    if len(found) > 1:
        raise InputError(f"{source} holds images in {' and in '.join(found)}; name one with --image-key")
    return found[0] if found else ""


def _holds_images(field: pa.Field) -> bool:
    kind = field.type
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind)
    return binary and (field.name.lower() in IMAGE_NAMES or field.name.endswith(".bytes"))


def _all_point_zero(columns: Iterable[pa.ChunkedArray]) -> bool:
    """Whether all are integers that became 1.0 on their way through a data frame, or empty; reads no more than it must."""
    any_number = False
    for column in columns:
        if not pc.all(pc.match_substring_regex(column, r"^(-?\d+\.0)?$"), min_count=0).as_py():
            return False
        any_number = any_number or pc.any(pc.not_equal(column, ""), min_count=0).as_py()
    return any_number


def _placed(rows: pa.Table, place: Callable[[pa.Array], pa.Array]) -> pa.Table:
    """`rows` with uris in place of the text of paths."""
    index = rows.schema.get_field_index("uri")
    if index < 0:
        nameless = pa.repeat(pa.scalar("", pa.large_string()), len(rows))
        return rows.add_column(1, "uri", nameless)
    return rows.set_column(index, "uri", pa.chunked_array(map(place, rows["uri"].chunks), pa.large_string()))


def _as_it_is(text: pa.Array) -> pa.Array:
    return text


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""A CSV or Parquet file that lists images, as a table with a row per image in one form.

Which column says what is decided in `columns`; images inside the file pass to a spool.
"""

# pyarrow.compute makes its functions as it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE, open_parquet
from ...mining.remote import in_words, url_of
from ..rows.image_spool import ImageSpool
from ..tables.columns import Columns
from ..tables.csv_header import delimiter_of, first_names, header_problem
from ..tables.csv_quotes import ALLOW, AS_TEXT, QuoteCheck, line_of_spread
from ..tables.label_text import class_names_of, is_text, label_form, without_missing
from .listing import JunkCount, Listing, joined, named, refuse_blank, streamed
from .options import SourceOptions, Track
from .places import folder_of, open_bytes, placed_from

IMAGE_NAMES = ("image", "img", "image_bytes", "jpg", "jpeg", "png")
"""Names of binary columns that hold images."""
_AT_ONCE = 1 << 20  # bytes of a CSV that are checked together


def list_csv(sources: Sequence[Path], options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """Read what each CSV (or TSV) lists: columns identity and uri, and all others of a `Listing` where it has them.

    Labels stay as they are written ("007", "NA"), but where all files have nothing than numbers, as data frames write
    them: 1.0 is then 1, and "nan" is empty. The rows are a stream.

    Raises:
        InputError: damaged, not UTF-8, a stray quote, rows of several lengths, without a column for the identity or the
            path, labels with a fraction.
    """
    files = [_Csv(source, options) for source in sources]
    name = files[0].label
    if name is None:
        form = "text"
    else:
        labels = (table[file.label] for file in files if file.label for table in file.parsed([file.label]))
        form = label_form(labels, f"{named(sources)}: column '{name}'")
    note = f"all of '{name}' are numbers with .0, read as integers: 1.0 is 1"
    notes = (note,) if form == "with .0" else ()
    listings = []
    for file in files:
        rows = file.rows(numbers=form != "text")
        columns, stream = file.columns, streamed(next(rows).schema, rows)
        listing = Listing(stream, columns.reading(), notes, guessed=columns.guessed, unused=columns.unused)
        listings.append(replace(listing, later=(file.said,), places=(file.place,)))
    return joined(sources, listings, redraw=options.redraw_splits)


class _Csv:
    """A CSV or TSV, read from its begin as often as it is asked for.

    Its quotes are checked first, in a pass of its own, and pyarrow opens it by its path: the threads of its reader run
    on behind an error, and one that then reads from an object of Python aborts the process as this ends.
    """

    def __init__(self, source: Path, options: SourceOptions) -> None:
        self._source, self._long_values = source, options.newlines_in_values
        self._quotes = options.quoting != "none"
        self._delimiter = "\t" if source.suffix.lower() == ".tsv" else ","
        if options.delimiter is not None:
            self._delimiter = delimiter_of(options.delimiter)
        self._types: dict[str, pa.DataType] = {}
        self._said: list[str] = []
        self._file: Path = source
        self._check = self._checked()
        names = next(self.parsed()).schema.names
        try:
            self.columns = columns = Columns.find(names, options, source)
        except InputError as error:
            problem = header_problem(names, self._delimiter)
            raise InputError(f"{error}; {problem}" if problem else str(error)) from error
        self.label = columns.names.get("identity")
        self._types |= {name: pa.large_string() for name in columns.in_use}
        if columns.boxes and len(columns.boxes.names) > 1:
            self._types |= {name: pa.float64() for name in columns.boxes.names}
        places = (columns.names[role] for role in ("offset", "length") if role in columns.names)
        self._types |= dict.fromkeys(places, pa.int64())
        self.place = placed_from(options.root or folder_of(source))

    def _checked(self) -> QuoteCheck:
        """The check of all quotes, over. A remote file is copied on the way, to a file without a name where that goes."""
        try:
            with open_bytes(self._source) as file:
                called = in_words(self._source)
                check = QuoteCheck(file, self._delimiter, called, self._long_values, self._quotes)
                if url_of(self._source) is None:
                    deque(iter(lambda: check.read(_AT_ONCE), b""), maxlen=0)
                    return check
                self._copy = tempfile.NamedTemporaryFile(prefix="subspace-", suffix=".csv")  # noqa: SIM115  # gone with this object
                self._file = Path(self._copy.name)
                self._copy.writelines(iter(lambda: check.read(_AT_ONCE), b""))
                self._copy.flush()
                return check
        except InputError as error:
            problem = self._header_problem()
            raise InputError(f"{error}; {problem}" if problem else str(error)) from error
        except DAMAGE as error:
            raise InputError(f"cannot read {in_words(self._source)}: {_one_line(error)}") from error

    def parsed(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The columns of those names (none: all in use), as they are parsed; first of all a table without rows."""
        read = csv.ReadOptions(
            block_size=1 << 24 if self._types else 1 << 20
        )  # at first only the header counts
        quote = '"' if self._quotes else False
        parse = csv.ParseOptions(delimiter=self._delimiter, quote_char=quote, newlines_in_values=self._quotes)
        convert = csv.ConvertOptions(include_columns=names or list(self._types), column_types=self._types)
        rows = 0
        try:
            file = pa.OSFile(os.fsencode(self._file))
            with file, csv.open_csv(file, read, parse, convert) as reader:
                yield reader.schema.empty_table()
                for batch in reader:
                    table = pa.Table.from_batches([batch])
                    if self._check.within and not self._long_values:
                        self._refuse_spread(table)
                    rows += len(table)
                    yield table
        except InputError:
            raise
        except DAMAGE as error:
            advice = (
                self._header_problem()
                or "save it as UTF-8, with a header, rows of one length and closed quotes"
            )
            raise InputError(
                f"cannot parse {in_words(self._source)}: {_one_line(error)}; {advice}"
            ) from error
        self._said = self._lines_beside(rows, self._check)

    def _header_problem(self) -> str:
        """What is wrong with the first line of a file that cannot be parsed, where anything is."""
        with open_bytes(self._source) as file:
            line = file.readline(1 << 16).decode("utf-8", "replace")
        return header_problem(first_names(line, self._delimiter), self._delimiter)

    def said(self) -> list[str]:
        """What was found on the way through all of it."""
        return self._said

    def _lines_beside(self, rows: int, check: QuoteCheck) -> list[str]:
        """The number of lines beside that of rows, where they differ."""
        said, blank = [], check.lines - 1 - rows - check.within
        if blank or check.within:
            reasons = ((blank, "blank lines"), (check.within, "line ends within quotes"))
            why = " and ".join(f"{count:,} {what}" for count, what in reasons if count)
            said.append(
                f"{in_words(self._source)}: {check.lines:,} lines with its header, {rows:,} rows: {why}"
            )
        if check.loose:
            said.append(
                f"{in_words(self._source)}: {check.loose:,} quotes within values are kept as they are"
            )
        return said

    def _refuse_spread(self, table: pa.Table) -> None:
        """Refuse a line end in a value of a column that is in use, likelier swallowed rows than a name."""
        for name, column in zip(table.schema.names, table.columns, strict=True):
            if is_text(column.type) and pc.any(pc.match_substring_regex(column, r"[\n\r]")).as_py():
                with io.TextIOWrapper(open_bytes(self._source), "utf-8-sig", "replace", newline="") as file:
                    line = line_of_spread(file, self._delimiter, name)
                where = f", line {line:,}: the row there has" if line else ": a row has"
                raise InputError(
                    f"{in_words(self._source)}{where} a value of '{name}' over several lines, as rows "
                    f"behind a stray quote have; remove the quote, or {ALLOW}, or {AS_TEXT}"
                )

    def rows(self, numbers: bool) -> Iterator[pa.Table]:
        """Its rows as they are listed, where labels are numbers or text."""
        for table in self.parsed():
            typed = self.columns.typed(table, self._source)
            if numbers:
                identity = without_missing(typed["identity"])
                identity = pc.replace_substring_regex(identity, r"\.0*$", "")
                typed = typed.set_column(typed.schema.get_field_index("identity"), "identity", identity)
            yield _placed(typed, self.place)


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
    wanted = columns.in_use
    identity = columns.names.get("identity")
    class_names = None
    if identity is not None and kinds.is_integer(empty.schema.field(identity).type):
        class_names = class_names_of(file.schema_arrow, identity)
    rooted = placed_from(options.root or folder_of(source))
    place = (lambda text: text) if image else rooted
    nothing = _placed(columns.typed(empty.select(wanted), source), place)
    reading = columns.reading(image) + ("; names of the classes: the file's own" if class_names else "")
    nobody, held = JunkCount(options), 0

    def tables() -> Iterator[pa.Table]:
        nonlocal held
        size, seen = 1_024 if image else 65_536, 0
        try:
            for batch in file.iter_batches(size, columns=[*wanted, image] if image else wanted):
                table = pa.Table.from_batches([batch]).flatten()
                rows = columns.typed(table.select(wanted), source, class_names)
                refuse_blank(in_words(source), rows, seen, options)  # junk is still there and counts
                seen += len(rows)
                if image:
                    held += len(table) - table[image].null_count
                    kept = nobody.others(rows["identity"])
                    rows = rows.filter(kept)
                    spool.add(table[image].filter(kept).combine_chunks())
                yield _placed(rows, place)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{in_words(source)} is damaged: {_one_line(error)}; copy or make it again"
            ) from error

    if not image:
        rows = streamed(nothing.schema, tables())
        return Listing(rows, reading, guessed=columns.guessed, unused=columns.unused, places=(rooted,))
    listed = [nothing]

    def each_row() -> Iterator[int]:
        for rows in tables():
            listed.append(rows)
            yield from range(len(rows))

    deque(progress(each_row()), maxlen=0)  # runs through them
    if not held and "uri" in columns.names and sum(map(len, listed)):
        path = columns.names["uri"]
        raise InputError(
            f"{in_words(source)} holds no image in '{image}', where all is null; '{path}' may say where they lie: "
            f"--path-column {path}"
        )
    listing = Listing(pa.concat_tables(listed), reading, tuple(nobody.notes()), counted=True, inline=True)
    return replace(listing, guessed=columns.guessed, unused=columns.unused)


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


def _placed(rows: pa.Table, place: Callable[[pa.Array], pa.Array]) -> pa.Table:
    """`rows` with uris in place of the text of paths."""
    index = rows.schema.get_field_index("uri")
    if index < 0:
        nameless = pa.repeat(pa.scalar("", pa.large_string()), len(rows))
        return rows.add_column(1, "uri", nameless)
    return rows.set_column(index, "uri", pa.chunked_array(map(place, rows["uri"].chunks), pa.large_string()))


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

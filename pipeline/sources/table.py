"""A CSV or Parquet file that lists images, as a table with a row per image in one form.

Text is large_string (its offsets do not overflow at 2 GB) without nulls; images inside the file pass to a spool.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.local_paths import refuse_url
from ...mining.parquet_tables import DAMAGE, open_parquet
from .image_spool import ImageSpool
from .options import SourceOptions, Track

# Customary names of columns, tried in this order; capitals do not matter.
IDENTITY_NAMES = ("identity", "label", "person_id", "person", "subject_id", "subject", "celeb_id", "pid")
IDENTITY_NAMES += ("class", "class_name", "class_id", "target", "id")
PATH_NAMES = ("uri", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image")
PATH_NAMES += ("image.path", "img.path")
SPLIT_NAMES = ("split", "subset", "partition", "fold")
GROUP_NAMES = ("group", "camera", "camera_id", "camid", "family")


@dataclass(frozen=True)
class _Columns:
    """The columns in use, by their names in the source; None where it has no such column."""

    identity: str
    uri: str | None
    split: str | None
    group: str | None
    offset: str | None
    length: str | None

    @classmethod
    def find(cls, names: list[str], options: SourceOptions, source: Path, image: str = "") -> _Columns:
        """Choose among `names`: what the options say, else by custom. `image` is that of inline images."""
        by_custom = {name.lower(): name for name in reversed(names) if name != image}

        def find(given: str | None, customary: Iterable[str]) -> str | None:
            name = given or next((by_custom[name] for name in customary if name in by_custom), None)
            if name is not None and names.count(name) != 1:
                problem = "several columns" if name in names else "no column"
                raise InputError(f"{source} has {problem} named '{name}'; its columns are {', '.join(names)}")
            return name

        def missing(what: str, option: str) -> InputError:
            columns = ", ".join(names)
            return InputError(f"{source} has no {what} column among {columns}; name it with {option}")

        identity, uri = find(options.identity_column, IDENTITY_NAMES), find(options.path_column, PATH_NAMES)
        if identity is None:
            raise missing("identity", "--identity-column")
        if uri is None and not image:
            raise missing("image path", "--path-column")
        split, group = find(options.split_column, SPLIT_NAMES), find(options.group_column, GROUP_NAMES)
        used = [name for name in (identity, uri, split, group) if name is not None]
        if len(set(used)) < len(used):
            twice = next(name for name in used if used.count(name) > 1)
            raise InputError(
                f"column '{twice}' of {source} cannot serve for two purposes; name the others by option"
            )
        packed = not image and {"offset", "length"} <= set(names)
        return cls(identity, uri, split, group, *(("offset", "length") if packed else (None, None)))

    @property
    def text(self) -> list[str]:
        return [name for name in (self.identity, self.uri, self.split, self.group) if name is not None]

    @property
    def all(self) -> list[str]:
        return [name for name in astuple(self) if name is not None]


def list_csv(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> pa.Table:
    """Read what a CSV (or TSV) lists: columns identity and uri; offset and length, split, group where it has them.

    Labels stay as they are written ("007", "NA"); within quotes they may hold commas and newlines.
    About 200 bytes of memory a row.

    Raises:
        InputError: damaged, not UTF-8, or without a column for the identity or the path.
    """
    delimiter = "\t" if source.suffix.lower() == ".tsv" else ","
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    read = csv.ReadOptions(block_size=1 << 24)
    try:
        with csv.open_csv(source, read, parse) as reader:
            columns = _Columns.find(reader.schema.names, options, source)
        types = {name: pa.large_string() if name in columns.text else pa.int64() for name in columns.all}
        convert = csv.ConvertOptions(include_columns=columns.all, column_types=types)
        table = csv.read_csv(source, read, parse, convert)
    except InputError:
        raise
    except DAMAGE as error:
        advice = "save it as UTF-8, with a header and closed quotes"
        raise InputError(f"cannot parse {source}: {_one_line(error)}; {advice}") from error
    return _listed(table, columns, _places(options.root or source.parent))


def list_parquet(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> pa.Table:
    """Read what a Parquet file lists, as `list_csv` does; images that it holds go to `spool`, one per row.

    Such images are found in a binary column `image`, or in a struct with `bytes` as Hugging Face datasets writes
    it. Their uri is only a name: the table's path column, else the struct's `path`, else empty.

    Raises:
        InputError: damaged, or a column missing or of another type.
    """
    file = open_parquet(source)
    schema = file.schema_arrow.empty_table().flatten().schema  # a struct's fields become columns: image.bytes
    image = "" if options.path_column else next((field.name for field in schema if _holds_images(field)), "")
    columns = _Columns.find(schema.names, options, source, image)
    for name in columns.all:
        kind = schema.field(name).type
        if not (_reads_as_text(kind) if name in columns.text else kinds.is_integer(kind)):
            wanted = "strings or integers" if name in columns.text else "integers"
            raise InputError(f"{source}: column '{name}' is {kind}; convert it to {wanted}, or name another")
    tables = [schema.empty_table().select(columns.all)]

    def each_row() -> Iterator[int]:
        for batch in file.iter_batches(1_024, columns=[*columns.all, image] if image else columns.all):
            table = pa.Table.from_batches([batch]).flatten()
            tables.append(table.select(columns.all))
            if image:
                spool.add(table[image].combine_chunks())
            yield from range(len(table))

    try:
        deque(progress(each_row()) if image else each_row(), maxlen=0)  # runs through them
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{source} is damaged: {_one_line(error)}; copy or make it again") from error
    place = _as_it_is if image else _places(options.root or source.parent)
    return _listed(pa.concat_tables(tables), columns, place)


def _holds_images(field: pa.Field) -> bool:
    binary = kinds.is_binary(field.type) or kinds.is_large_binary(field.type)
    return binary and (field.name.lower() == "image" or field.name.endswith(".bytes"))


def _reads_as_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    text = kinds.is_string(kind) or kinds.is_large_string(kind)
    return text or kinds.is_integer(kind) or kinds.is_null(kind)


def _listed(table: pa.Table, columns: _Columns, place: Callable[[pa.Array], pa.Array]) -> pa.Table:
    """Give the columns their names and types here; `place` turns the text of a path into a uri."""
    listed = {}
    for role, name in vars(columns).items():
        if name in columns.text:
            listed[role] = table[name].cast(pa.large_string()).fill_null("")
        elif name is not None:
            listed[role] = table[name].cast(pa.int64())
    nameless = pa.chunked_array([pa.repeat(pa.scalar("", pa.large_string()), table.num_rows)])
    listed["uri"] = pa.chunked_array(map(place, listed.get("uri", nameless).chunks), pa.large_string())
    return pa.table(listed)


def _as_it_is(text: pa.Array) -> pa.Array:
    return text


def _places(root: Path) -> Callable[[pa.Array], pa.Array]:
    """Make paths absolute, from `root`, with their folders resolved; a link at the end keeps its own name.

    The folder is resolved once for all of its images, as `realpath` costs several system calls.
    """

    @cache
    def resolve(folder: str) -> str:
        refuse_url(folder)
        whole = os.path.join(root, folder)
        return whole if "\0" in whole else os.path.join(os.path.realpath(whole), "")

    def place(paths: pa.Array) -> pa.Array:
        folders = pc.replace_substring_regex(paths, r"[^/]*\z", "").dictionary_encode()
        names = pc.replace_substring_regex(paths, r"(?s)\A.*/", "")
        resolved = pa.array(map(resolve, folders.dictionary.to_pylist()), pa.large_string())
        between = pa.scalar("", pa.large_string())
        return pc.binary_join_element_wise(resolved.take(folders.indices), names, between)

    return place


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""What a reader found in a source: a row per image, what was read where, and what it could not take."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.remote import in_words
from .file_names import REID_SPLITS, split_and_role
from .options import SourceOptions
from .places import Placed

REFUSED = pa.schema(
    [("identity", pa.large_string()), ("uri", pa.large_string()), ("reason", pa.large_string())]
)

_AT_ONCE = 2**17


@dataclass(frozen=True)
class Listing:
    """Images of one source, or of several of one kind.

    `rows` has columns identity and uri (large_string without nulls), and offset and length, split, group, the box
    x_1, y_1, x_2, y_2 (int64), is_query and is_gallery (bool) where the source has them. Images that lie inside the
    source are in the spool, one per row. Other rows may come as a stream, which is read once.
    """

    rows: pa.Table | pa.RecordBatchReader
    reading: str
    """What was taken for what: "identity: label; path: path; split: none; group: camera"."""
    notes: tuple[str, ...] = ()
    """What may surprise: files of other kinds, labels that were changed."""
    refused: pa.Table = field(default_factory=REFUSED.empty_table)
    """Images that could not be taken, each with its reason; never silently fewer."""
    split_folders: bool = False
    """Whether splits are folders, of which none shares an identity with another."""
    splits_mapped: bool = False
    """Whether its reader has applied --split-map, as that of folders does."""
    counted: bool = False
    """Whether its reader showed progress over the images."""
    inline: bool = False
    """Whether the images lie inside the source, and by now in the spool."""
    later: tuple[Callable[[], Iterable[str]], ...] = ()
    """What else there is to say once all rows were read."""
    guessed: Mapping[str, str] = field(default_factory=dict)
    """Columns of a table by their roles, which were taken by their customary names and not by an option."""
    unused: tuple[str, ...] = ()
    """Columns of a table that say nothing here."""
    one_split: str = "keep it in one of them"
    """What to do about an identity in training and in a held-out split, for the message that refuses it."""
    places: tuple[Placed, ...] = ()
    """What made its paths whole, where it lists paths that may begin in `--root`."""

    @property
    def any_relative(self) -> bool:
        """Whether any of the rows that were read had a path that began in `--root`."""
        return any(place.relative for place in self.places)

    def tables(self) -> Iterator[pa.Table]:
        """The rows, some at a time."""
        if isinstance(self.rows, pa.Table):
            for start in range(0, len(self.rows), _AT_ONCE):
                yield self.rows.slice(start, _AT_ONCE)
        else:
            yield from (pa.Table.from_batches([batch]) for batch in self.rows)


def streamed(schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.RecordBatchReader:
    """Tables as a stream of rows, which are made as they are read."""
    batches = (batch for table in tables for batch in table.to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)


def in_one_file(rows: pa.Table, uri: str) -> pa.RecordBatchReader:
    """Rows of images of one file, with its uri: it is added as they are read, since it is longer than all the rest."""
    field = pa.field("uri", pa.large_string())
    tables = (
        some.append_column(field, pa.repeat(pa.scalar(uri, field.type), len(some)))
        for some in Listing(rows, "").tables()
    )
    return streamed(rows.schema.append(field), tables)


def refused_rows(rows: Iterable[tuple[str, str, str]]) -> pa.Table:
    """(identity, uri, reason) of each image that could not be taken, as a table; bytes of no text become `?`."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    cleaned = [[text.encode("utf-8", "replace").decode() for text in column] for column in columns]
    return pa.table([pa.array(column, pa.large_string()) for column in cleaned], schema=REFUSED)


def refusal(sources: Sequence[Path], refused: pa.Table, taken: int) -> InputError:
    """The one line about images that could not be taken: how many, why, and the first."""
    reason = refused["reason"].value_counts().to_pylist()
    first = refused.slice(0, 1).to_pylist()[0]
    several = "" if len(reason) == 1 else f" and {len(reason) - 1} other reasons"
    return InputError(
        f"{named(sources)}: {len(refused):,} of {len(refused) + taken:,} images cannot be taken, the first is "
        f"{first['uri']}: {first['reason']}{several}; correct that, or leave them out (--on-bad-image quarantine)"
    )


def named(sources: Sequence[Path]) -> str:
    """The sources in a few words: the first, and how many more."""
    more = len(sources) - 1
    return in_words(sources[0]) + (f" and {more} more" if more else "")


def joined(sources: Sequence[Path], listings: Sequence[Listing], *, redraw: bool = False) -> Listing:
    """Listings of several sources of one kind as one; with `redraw` splits are drawn, whatever their names say.

    Raises:
        InputError: they have different columns, such as a split in one of them only, or images in one of them only.
    """
    listings = _with_splits_by_name(sources, listings, redraw)
    first = listings[0]
    columns = first.rows.schema.names
    if len(listings) == 1:
        return first
    for source, other in zip(sources, listings, strict=True):
        odd = set(columns) ^ set(other.rows.schema.names)
        if odd:
            raise InputError(
                f"{source} and {sources[0]} do not have the same columns: {', '.join(sorted(odd))} is in one of "
                "them only; ingest them one by one, and join the manifests"
            )
        if other.inline != first.inline:
            holds, points = (source, sources[0]) if other.inline else (sources[0], source)
            raise InputError(
                f"{in_words(holds)} holds its images and {in_words(points)} points to files; leave one of the two out, or "
                "read both from files (--path-column)"
            )
    notes = [note for listing in listings for note in listing.notes]
    tables = (rows.select(columns) for listing in listings for rows in listing.tables())
    return Listing(
        rows=streamed(first.rows.schema, tables),
        reading=" | ".join(dict.fromkeys(listing.reading for listing in listings)),
        notes=tuple(dict.fromkeys(notes)),
        refused=pa.concat_tables([listing.refused for listing in listings]),
        split_folders=any(listing.split_folders for listing in listings),
        splits_mapped=all(listing.splits_mapped for listing in listings),
        counted=any(listing.counted for listing in listings),
        inline=first.inline,
        later=tuple(later for listing in listings for later in listing.later),
        guessed=first.guessed,
        unused=first.unused,
        places=tuple(place for listing in listings for place in listing.places),
    )


class JunkCount:
    """Tells identities that are somebody from those of `options.junk`, and counts these by name."""

    def __init__(self, options: SourceOptions) -> None:
        self._junk = pa.array(options.junk, pa.large_string())
        self._blank = "" in options.junk
        self._counts: Counter[str] = Counter()

    def others(self, identity: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Whether each identity is somebody."""
        nobody = pc.is_in(identity, value_set=self._junk)
        if self._blank:
            nobody = pc.or_(nobody, pc.equal(pc.utf8_trim_whitespace(identity), ""))
        if pc.any(nobody, min_count=0).as_py():
            for found in identity.filter(nobody).value_counts().to_pylist():
                self._counts[found["values"]] += found["counts"]
        return pc.invert(nobody)

    def notes(self) -> list[str]:
        """What is said of the images of nobody."""
        if not self._counts:
            return []
        names = ", ".join(name.strip() or "empty" for name in sorted(self._counts))
        return [f"{self._counts.total():,} images of nobody left out (identity {names}; --junk changes that)"]


def refuse_blank(source: str, rows: pa.Table, before: int, options: SourceOptions) -> None:
    """Refuse a row without an identity, by its number in the source: `before` came before these rows.

    Raises:
        InputError: an identity is empty or blank, unless `options.junk` has an empty one.
    """
    if "" in options.junk or options.unlabelled:
        return
    blank = pc.index(pc.equal(pc.utf8_trim_whitespace(rows["identity"]), ""), True).as_py()
    if blank >= 0:
        uri = rows["uri"][blank].as_py() if "uri" in rows.column_names else ""
        row = f"row {before + blank + 1:,}" + (f" ({uri})" if uri else "")
        raise InputError(
            f"{source}: {row} has an empty identity; name it, or leave the row out (all such rows: --junk '')"
        )


_NAMES_OF_SPLITS = "train|training|val|valid|validation|dev|test|testing|pretrain"
_SPLIT_NAME = re.compile(rf"({'|'.join(REID_SPLITS)}|{_NAMES_OF_SPLITS})(?=$|[-_.])", re.IGNORECASE)
_SPLIT_IN_NAME = re.compile(rf"(?<=[-_.])({_NAMES_OF_SPLITS})(?=$|[-_.])", re.IGNORECASE)


def _with_splits_by_name(
    sources: Sequence[Path], listings: Sequence[Listing], redraw: bool
) -> Sequence[Listing]:
    """Splits by the names of shards (`train-00000-of-00004.parquet`), where these name several and their rows none.

    Folders may be those of re-identification sets (`bounding_box_train`, `query`).

    Raises:
        InputError: some names say splits, as `faces_train.csv` and `faces_test.csv` do, but not all begin with one: whether
            they are is not guessed, and test images would be trained on.
    """
    found = [_SPLIT_NAME.match(source.name) for source in sources]
    names = [split_and_role(match[1]) for match in found if match]
    any_own = any("split" in listing.rows.schema.names for listing in listings)
    if not any_own and not redraw and len(names) < len(sources):
        _refuse_half_named(sources)
    if any_own or len(names) < len(sources) or len(set(names)) < 2:
        return listings
    any_role = any(role for _, role in names)
    return [
        replace(
            listing,
            rows=_in_split(listing, split, role if any_role else None),
            reading=listing.reading.replace("split: none", "split: the sources' names"),
        )
        for (split, role), listing in zip(names, listings, strict=True)
    ]


def _refuse_half_named(sources: Sequence[Path]) -> None:
    matches = [_SPLIT_NAME.match(source.name) or _SPLIT_IN_NAME.search(source.name) for source in sources]
    said = {
        split_and_role(match[1]): source.name for match, source in zip(matches, sources, strict=True) if match
    }
    if len(said) > 1:
        raise InputError(
            f"the names of the sources seem to say splits ({', '.join(said.values())}), but not all of them begin with "
            "one, as in train.csv and test.csv; name them so, or give --redraw-splits, which draws the splits from all"
        )


def _in_split(listing: Listing, name: str, role: str | None) -> pa.RecordBatchReader:
    """The rows, all of one split, and of one role where this is not None."""
    text = pa.large_string()

    def with_split(rows: pa.Table) -> pa.Table:
        rows = rows.append_column("split", pa.repeat(pa.scalar(name, text), len(rows)))
        if role is None or "is_query" in rows.column_names:
            return rows
        return with_roles(rows.append_column("role", pa.repeat(pa.scalar(role, text), len(rows))), some=True)

    return streamed(with_split(listing.rows.schema.empty_table()).schema, map(with_split, listing.tables()))


def with_roles(rows: pa.Table, some: bool = False) -> pa.Table:
    """Rows with flags is_query and is_gallery in place of `role` (query, gallery or empty).

    They have none where no role is said, unless `some` other table has one.

    Example:
        >>> with_roles(pa.table({"role": ["query", ""]})).to_pydict()
        {'is_query': [True, None], 'is_gallery': [False, None]}
    """
    role = rows["role"]
    rows = rows.drop_columns(["role"])
    if not some and not pc.any(pc.not_equal(role, "")).as_py():
        return rows
    known = pc.if_else(pc.equal(role, ""), None, role)
    return rows.append_column("is_query", pc.equal(known, "query")).append_column(
        "is_gallery", pc.equal(known, "gallery")
    )

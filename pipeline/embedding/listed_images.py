"""Any source as a list of images on disk: what each is called, where its bytes lie, and whose it is, where that is said.

The list is a manifest whose rows follow the source (those of a folder their paths). Images inside a table go to a file.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.fingerprints import fingerprint_of
from ...mining.local_paths import in_utf8
from ...mining.manifest import Manifest
from ...mining.parquet_tables import metadata_of, open_parquet, parquet_writer, row_groups
from ...mining.schemas import BOX, MANIFEST
from ..rows.content_hash import ContentHash
from ..rows.row_order import RowOrder
from ..rows.row_scratch import regrouped
from ..sources.bad_images import file_sizes
from ..sources.file_names import image_suffixes
from ..sources.ingest import NO_BARS, Bars
from ..sources.listing import Listing, named, refused_rows
from ..sources.options import SourceOptions, Track
from ..sources.places import placed_from, whole_uri
from ..sources.readers import FOLDER, READERS, read_sources, reader_of
from .kept_images import KeptImages

PART_IMAGES = 16_384
"""In a row group of the list: the unit of resuming."""
NAME = "name"
"""The column of the list that says what an image is called."""
AS_GIVEN = "images as given; identity: none"
LABELS = ("identity", "split", "group", "is_query", "is_gallery")
_TEXT = pa.large_string()


@dataclass(frozen=True)
class ListedImages:
    """A list of images on disk."""

    path: Path
    rows: int
    fingerprint: str
    """A hash of names, labels, sizes of files, and of the bytes of images inside tables."""
    columns: tuple[str, ...]
    """Columns of `LABELS` that are known of any image."""
    notes: tuple[str, ...] = ()
    """What was taken for what, and what may surprise."""
    refused: pa.Table = field(default_factory=lambda: refused_rows([]))
    """Images that could not be taken: identity, uri, reason."""

    @classmethod
    def open(cls, path: Path) -> ListedImages:
        """One that was written before.

        Raises:
            InputError: it is missing or damaged.
        """
        file = open_parquet(path, MANIFEST)
        said = metadata_of(file)
        columns = tuple(filter(None, said.get("columns", "").split(",")))
        return cls(path, file.metadata.num_rows, said.get("fingerprint", ""), columns)


def list_images(
    sources: Sequence[Path], out: Path, splits: Sequence[str] = (), bars: Bars = NO_BARS
) -> ListedImages:
    """Write the list `out` of the images in `sources`: manifests, image files, or anything that `subspace ingest` reads.

    Identities are listed where they can be read without an option; else none are, and the notes say why. Manifests
    leave out the images that they do not keep.

    Args:
        splits: images of these alone; none: all.

    Raises:
        InputError: nothing is there, or it cannot be read; no image is of those splits.
    """
    with KeptImages(out.with_name("images.bin")) as spool, bars("list", None, "images") as bar:
        found, manifests = _found(sources, spool, bar.over)
        kept = _Kept(named(sources), splits)
        tables = kept.those(_placed(found, spool, sources))
        own_order = found.reading == AS_GIVEN or manifests or len(spool.lengths())
        if not own_order and reader_of(sources[0]) is READERS[FOLDER]:
            tables = _by_path(tables, out)
        rows, fingerprint, columns = _write(out, tables, found.rows.schema, manifests, spool)
        spool.keep()
    notes = [found.reading, *found.notes, *(note for later in found.later for note in later()), *kept.notes()]
    return ListedImages(out, rows, fingerprint, columns, tuple(notes), found.refused)


def _found(sources: Sequence[Path], spool: KeptImages, progress: Track) -> tuple[Listing, str]:
    """The rows of the sources; and of manifests their fingerprint, as they know the sizes of their files."""
    if all(map(_is_manifest, sources)):
        manifests = [Manifest.open(source) for source in sources]
        return _of_manifests(manifests, spool), fingerprint_of({"of": [one.fingerprint for one in manifests]})
    if all(source.name.lower().endswith(image_suffixes()) and not source.is_dir() for source in sources):
        missing = next((one for one in sources if "://" not in whole_uri(one) and not one.is_file()), None)
        if missing is not None:
            raise InputError(f"{missing} does not exist; give images, a folder, a manifest or another source")
        uris = [in_utf8(whole_uri(source)) for source in sources]
        rows = pa.table({"identity": pa.array([""] * len(uris), _TEXT), "uri": pa.array(uris, _TEXT)})
        return Listing(rows, AS_GIVEN), ""
    options = SourceOptions(junk=(), no_keep_column=True)
    try:
        return read_sources(sources, options, spool, progress), ""
    except InputError as error:
        without = {"splits": {"redraw_splits": True}, "identities": {"unlabelled": True}}
        for what, left_aside in without.items():
            spool.begin_again()
            try:
                found = read_sources(sources, replace(options, **left_aside), spool, iter)
            except InputError:
                continue
            why = re.sub(r"[;:,] [^;:]*--.*", "", str(error))  # the rest is to be done with options of ingest
            note = f"embedded without {what}: {why}; to have them, `subspace ingest` first and embed the manifest"
            return replace(found, notes=(*found.notes, note)), ""
        raise


def _is_manifest(source: Path) -> bool:
    is_table = source.suffix.lower() == ".parquet" and not source.is_dir()
    return is_table and metadata_of(open_parquet(source)).get("kind") == MANIFEST.name


def _of_manifests(manifests: Sequence[Manifest], spool: KeptImages) -> Listing:
    """The rows of manifests, their images put into the spool on the way."""
    there = [name for name in (*LABELS, "keep", *BOX) if any(name in one.columns for one in manifests)]
    types = {f.name: _plain(f.type) for f in (*MANIFEST.columns, *MANIFEST.optional)}
    schema = pa.schema([(name, types[name]) for name in (*there, "uri", "offset", "length")])
    inline = any("image" in manifest.columns for manifest in manifests)

    def tables() -> Iterator[pa.Table]:
        for manifest in manifests:
            place, images = placed_from(manifest.folder), "image" in manifest.columns
            names = [name for name in schema.names if name in manifest.columns]
            for rows in row_groups(manifest.path, MANIFEST, [*names, *(["image"] if images else [])]):
                columns = {name: rows[name].cast(types[name]).combine_chunks() for name in names}
                inside = rows["image"].combine_chunks() if images else pa.nulls(len(rows), pa.binary())
                # A relative path is made whole; of an image inside the table it is but a name.
                pointed = pc.and_(inside.is_null(), columns["uri"].is_valid())
                whole = place(columns["uri"].fill_null(""))
                columns["uri"] = pc.if_else(pointed, whole, columns["uri"])
                if inline:
                    spool.add(inside)
                for name in set(schema.names) - {*names}:
                    columns[name] = pa.nulls(len(rows), types[name])
                yield pa.table([columns[name] for name in schema.names], schema=schema)

    stream = pa.RecordBatchReader.from_batches(schema, (b for table in tables() for b in table.to_batches()))
    return Listing(stream, f"as the {'manifest has' if len(manifests) == 1 else 'manifests have'} them")


def _plain(kind: pa.DataType) -> pa.DataType:
    return _TEXT if pa.types.is_dictionary(kind) or pa.types.is_string(kind) else kind


def _placed(found: Listing, spool: KeptImages, sources: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows with what each image is called; those of images in the spool point there."""
    start, at = 0, 0
    kept = pa.scalar(spool.path.name, _TEXT)  # beside the list, wherever both are moved to
    for rows in found.tables():
        inside = spool.lengths()[start : start + len(rows)] if len(spool.lengths()) else None
        if inside is None:
            yield rows.append_column(NAME, _names(rows))
        else:
            numbers = pa.array(range(start, start + len(rows))).cast(_TEXT)
            nameless = pc.binary_join_element_wise(
                pa.scalar(named(sources), _TEXT), numbers, pa.scalar("#", _TEXT)
            )
            unnamed = pc.fill_null(pc.equal(rows["uri"], ""), True)
            called = pc.if_else(unnamed, nameless, rows["uri"])
            # where there are no bytes, the image may lie outside
            here = pc.or_(pa.array(inside > 0), unnamed)
            ends = at + np.cumsum(inside)
            places = {"uri": kept, "offset": pa.array(ends - inside), "length": pa.array(inside)}
            for name, value in places.items():
                own = rows[name] if name in rows.column_names else pa.nulls(len(rows), pa.int64())
                rows = _with(rows, name, pc.if_else(here, value, own))
            yield rows.append_column(NAME, called)
            at = int(ends[-1]) if len(ends) else at
        start += len(rows)


def _with(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.append_column(name, column) if index < 0 else rows.set_column(index, name, column)


def _names(rows: pa.Table) -> pa.ChunkedArray:
    """URI, `URI#OFFSET+LENGTH` of a place in a file; `#xyxy=LEFT,TOP,RIGHT,BOTTOM` follows where a box counts alone."""
    called, nothing = rows["uri"], pa.scalar("", _TEXT)

    def text(name: str) -> pa.ChunkedArray:
        return rows[name].cast(_TEXT)

    if "offset" in rows.column_names:
        length = pc.fill_null(text("length"), "")
        inside = pc.binary_join_element_wise(
            called, pa.scalar("#", _TEXT), text("offset"), pa.scalar("+", _TEXT), length, nothing
        )
        called = pc.coalesce(inside, called)
    if BOX[0] in rows.column_names:
        sides = [piece for name in BOX for piece in (text(name), pa.scalar(",", _TEXT))][:-1]
        boxed = pc.binary_join_element_wise(called, pa.scalar("#xyxy=", _TEXT), *sides, nothing)
        called = pc.coalesce(boxed, called)
    return called


class _Kept:
    """Which rows are listed: those that a manifest keeps, and of the splits that are asked for."""

    def __init__(self, source: str, splits: Sequence[str]) -> None:
        self._source, self._splits = source, splits
        self._seen: set[str] = set()
        self._rows = self._dropped = 0

    def those(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for rows in tables:
            if "keep" in rows.column_names:
                keep = pc.fill_null(rows["keep"], True)
                rows, before = rows.filter(keep).drop_columns(["keep"]), len(rows)
                self._dropped += before - len(rows)
            if self._splits and "split" not in rows.column_names:
                raise InputError(f"{self._source} has no splits; leave --split {self._splits[0]} out")
            if self._splits:
                self._seen |= {str(name) for name in rows["split"].unique().to_pylist()}
                rows = rows.filter(pc.is_in(rows["split"], value_set=pa.array(self._splits, _TEXT)))
            self._rows += len(rows)
            yield rows
        if self._splits and not self._rows:
            raise InputError(
                f"{self._source} has nothing in split {' or '.join(self._splits)}; it has {', '.join(sorted(self._seen))}"
            )
        if not self._rows:
            raise InputError(f"{self._source} lists no images")

    def notes(self) -> list[str]:
        """What was left out."""
        return [f"{self._dropped:,} images left out that the manifest does not keep"] if self._dropped else []


def _by_path(tables: Iterable[pa.Table], out: Path) -> Iterator[pa.Table]:
    """The rows in the order of their paths, since a file system has none of its own; memory for some of them."""
    with RowOrder(beside=out) as order:
        for rows in tables:
            rows = rows.rename_columns(["who" if name == "identity" else name for name in rows.column_names])
            order.add(rows.append_column("identity", rows["uri"]))
        for _, rows in order.ranges(pa.array([], pa.large_binary())):
            rows = rows.drop_columns(["identity_id"])
            yield rows.rename_columns(["identity" if name == "who" else name for name in rows.column_names])


def _write(
    out: Path, tables: Iterable[pa.Table], schema: pa.Schema, fixed: str, spool: KeptImages
) -> tuple[int, str, tuple[str, ...]]:
    """Write the list; return its rows, its fingerprint and the labels that any image has."""
    fields = {f.name: f for f in (*MANIFEST.columns, *MANIFEST.optional)}
    optional = [name for name in ("group", "is_query", "is_gallery", *BOX) if name in schema.names]
    kinds = pa.schema([*MANIFEST.columns, *(fields[name] for name in optional), (NAME, pa.string())])
    content, rows, identified = ContentHash(), 0, False
    with parquet_writer(out, MANIFEST, kinds) as writer:
        for some in regrouped(tables, PART_IMAGES):
            columns = {name: some[name].combine_chunks() for name in some.column_names}
            for name, value in (("split", ""), ("identity_id", 0), ("keep", True)):
                columns.setdefault(name, pa.repeat(pa.scalar(value), len(some)))
            for name in ("offset", "length"):
                columns.setdefault(name, pa.nulls(len(some), pa.int64()))
            if "group" in columns:
                columns["group"] = pc.if_else(pc.equal(columns["group"], ""), None, columns["group"])
            identified = identified or pc.any(pc.not_equal(columns["identity"], "")).as_py()
            # Of images in the spool, whose path alone is not whole, the bytes count in place of a size.
            files = pc.if_else(pc.equal(columns["uri"], spool.path.name), "", columns["uri"])
            sizes = np.zeros(len(some), np.int64) if fixed else file_sizes(files)
            hashed = {name: columns[name] for name in (NAME, "identity", "split", *optional)}
            content.update(pa.record_batch({**hashed, "size": pa.array(sizes)}))
            arrays = [_as(f.type, columns[f.name]) for f in kinds]
            writer.write_batch(pa.record_batch(arrays, schema=kinds), row_group_size=PART_IMAGES)
            rows += len(some)
        labels = {"identity": identified, **{name: name in schema.names for name in LABELS[1:]}}
        known = tuple(name for name in LABELS if labels[name])
        inside = {"inside": spool.fingerprint} if len(spool.lengths()) and not fixed else {}
        fingerprint = fingerprint_of({"rows": content.hexdigest(), "manifests": fixed, **inside})
        writer.add_key_value_metadata({"fingerprint": fingerprint, "columns": ",".join(known)})
    return rows, fingerprint, known


def _as(kind: pa.DataType, column: pa.Array) -> pa.Array:
    is_coded = pa.types.is_dictionary(kind)
    return column.cast(kind.value_type).dictionary_encode() if is_coded else column.cast(kind)

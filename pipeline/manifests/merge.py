"""Several manifests joined to one: `subspace ingest --merge`.

A manifest is read as any other source is, so that all of an ingest's checks and options hold: the order of the
manifests leaves no trace, files are looked for again, and splits may not share an identity.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.parquet_tables import row_groups
from ...mining.remote import in_words
from ...mining.schemas import MANIFEST
from ..rows.image_spool import ImageSpool
from ..rows.ingest_summary import IngestSummary
from ..sources.ingest import NO_BARS, Bars, Say, make_manifest
from ..sources.listing import Listing, named, streamed
from ..sources.options import IngestOptions, SourceOptions, Track
from ..sources.places import placed_from

STEM = "stem"
"""The prefix that stands for each manifest's own name."""
TEXT = pa.large_string()
_NO_SPLITS = pa.table({"identity_id": pa.array([], pa.int32()), "split": pa.array([], TEXT)})


def merge_manifests(
    manifests: Sequence[Path],
    out: Path,
    options: IngestOptions,
    prefix: str | None = None,
    bars: Bars = NO_BARS,
    say: Say = lambda line: None,
    *,
    keep_splits: bool = False,
) -> IngestSummary:
    """Write the manifest `out` of all rows of `manifests`; identities are numbered anew, splits are kept.

    Args:
        options: what an ingest does after it has read its source; the source's own options say nothing here.
        prefix: None: equal names are one identity. `stem`: every identity is called `MANIFEST/NAME`, after the file
            that it is from; other names, one for each manifest, are separated by commas.
        keep_splits: an identity that several manifests have keeps the split that the first of them gives it.

    Raises:
        InputError: one is no manifest; some hold their images and others do not; an identity is trained on in one and
            held out in another; the prefixes are not one for each, or equal; `keep_splits` with a prefix or with splits that
            are drawn anew.
    """
    for field in fields(SourceOptions):
        if field.name != "redraw_splits" and getattr(options, field.name) != field.default:
            option = "--" + field.name.replace("_", "-")
            raise InputError(f"{option} says nothing about manifests; leave it out")
    if len(manifests) < 2:
        raise InputError(
            f"--merge joins two manifests or more, and got {named(manifests)} alone; name the others"
        )
    prefixes = _prefixes(manifests, prefix)
    for option, given in (("--prefix", prefix is not None), ("--redraw-splits", options.redraw_splits)):
        if keep_splits and given:
            raise InputError(f"--keep-splits says nothing beside {option}; leave one of them out")

    def read(sources: Sequence[Path], options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
        return _list(sources, prefixes, spool, keep_splits=keep_splits)

    # Junk was left out when they were made, unless their makers said otherwise.
    return make_manifest(manifests, read, out, replace(options, junk=()), bars, say)


def _prefixes(manifests: Sequence[Path], prefix: str | None) -> list[str]:
    """What is put before the identities of each manifest."""
    if prefix is None:
        return [""] * len(manifests)
    names = (
        [path.stem for path in manifests] if prefix == STEM else [name.strip() for name in prefix.split(",")]
    )
    if len(names) != len(manifests):
        raise InputError(
            f"--prefix {prefix} has {len(names)} names for {len(manifests)} manifests; give one for each, by commas, or "
            f"{STEM} for their file names"
        )
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise InputError(
            f"--prefix {prefix}: '{twice}' cannot tell manifests apart; give each another name, by commas"
        )
    return [f"{name}/" for name in names]


def _list(paths: Sequence[Path], prefixes: Sequence[str], spool: ImageSpool, *, keep_splits: bool) -> Listing:
    """The rows of the manifests, in columns that all of them then have; their images go to the spool."""
    manifests = [Manifest.open(path) for path in paths]
    inline = ["image" in manifest.columns for manifest in manifests]
    if len(set(inline)) > 1:
        holds, points = (in_words(paths[inline.index(kind)]) for kind in (True, False))
        raise InputError(
            f"{holds} holds its images and {points} points to files; ingest both from files, or neither"
        )
    optional = [
        field
        for field in MANIFEST.optional
        if field.name != "image" and any(field.name in manifest.columns for manifest in manifests)
    ]
    all_kept = all(
        pc.all(table["keep"]).as_py()
        for manifest in manifests
        for table in row_groups(manifest.path, MANIFEST, ["keep"])
    )
    schema = pa.schema(
        [
            *((name, TEXT) for name in ("identity", "uri")),
            *((name, pa.int64()) for name in ("offset", "length")),
            ("split", TEXT),
            *((field.name, _plain(field.type)) for field in optional),
            *([] if all_kept else [("keep", pa.bool_())]),
        ]
    )
    earlier, moved = _earlier_splits(manifests) if keep_splits else ([_NO_SPLITS] * len(manifests), 0)
    tables = (
        table
        for manifest, prefix, splits in zip(manifests, prefixes, earlier, strict=True)
        for table in _rows(manifest, prefix, schema, spool, splits)
    )
    # Images must be in the spool before the rows are read.
    rows = pa.concat_tables(tables) if inline[0] else streamed(schema, tables)
    notes = () if any(prefixes) else (_shared(manifests),)
    if keep_splits:
        notes += (
            f"{moved:,} identities follow an earlier manifest, which gives them another split (--keep-splits)",
        )
    way = "give it the split of the first manifest that has it (--keep-splits), keep the two apart (--prefix)"
    return Listing(rows, "manifests: identity, uri, split and all else as they have it", notes, one_split=way)


def _earlier_splits(manifests: Sequence[Manifest]) -> tuple[list[pa.Table], int]:
    """For each manifest those of its identities that an earlier one has, by ascending identity_id, with the first one's split.

    Also, how many of them have another split here.
    """
    found, moved, known = [], 0, pa.table({"identity": pa.array([], TEXT), "split": pa.array([], TEXT)})
    for manifest in manifests:
        keys, ends = ["identity_id", "identity"], [("split", "min"), ("split", "max")]
        groups = row_groups(manifest.path, MANIFEST, [*keys, "split"])
        parts = [
            table.set_column(2, "split", table["split"].cast(TEXT)).group_by(keys).aggregate(ends)
            for table in groups
        ]
        # an identity may go on in the next row group
        own = pa.concat_tables(parts).group_by(keys).aggregate([("split_min", "min"), ("split_max", "max")])
        own = own.sort_by("identity_id").rename_columns([*keys, "least", "most"])
        own = own.set_column(1, "identity", own["identity"].cast(TEXT))
        first = known["split"].take(
            pc.index_in(own["identity"], value_set=known["identity"].combine_chunks())
        )
        is_known = pc.is_valid(first)
        other = pc.or_(pc.not_equal(first, own["least"]), pc.not_equal(first, own["most"]))
        moved += pc.sum(other).as_py() or 0
        found.append(own.select(["identity_id"]).append_column("split", first).filter(is_known))
        new = own.select(["identity", "least"]).rename_columns(known.column_names).filter(pc.invert(is_known))
        known = pa.concat_tables([known, new])
    return found, moved


def _places(identity_id: pa.ChunkedArray, splits: pa.Table) -> pa.Array:
    """The row of each identity in `splits`, null where there is none; searched for, as the ids ascend."""
    known, wanted = splits["identity_id"].to_numpy(), identity_id.to_numpy()
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return pa.array(place, mask=known[place] != wanted)


def _plain(kind: pa.DataType) -> pa.DataType:
    return TEXT if pa.types.is_dictionary(kind) else kind


def _rows(
    manifest: Manifest, prefix: str, schema: pa.Schema, spool: ImageSpool, splits: pa.Table
) -> Iterator[pa.Table]:
    """The rows of one manifest, its uris whole; the identities in `splits` have the split there."""
    place = placed_from(manifest.folder)
    images = ["image"] if "image" in manifest.columns else []
    known = [name for name in schema.names if name in manifest.columns]
    for table in row_groups(manifest.path, MANIFEST, [*known, "identity_id", *images]):
        if images:
            spool.add(table["image"].combine_chunks())
        columns = []
        for field in schema:
            column = pa.chunked_array([pa.nulls(len(table), field.type)])
            if field.name in known:
                column = table[field.name].cast(_plain(table[field.name].type)).cast(field.type)
            if field.name == "identity" and prefix:
                column = pc.binary_join_element_wise(pa.scalar(prefix, TEXT), column, pa.scalar("", TEXT))
            if field.name == "uri" and not images:
                column = pa.chunked_array([place(column.combine_chunks())])
            if field.name == "split" and len(splits):
                column = pc.coalesce(splits["split"].take(_places(table["identity_id"], splits)), column)
            columns.append(column.fill_null("") if field.type == TEXT else column)
        yield pa.table(columns, schema=schema)


def _shared(manifests: Sequence[Manifest]) -> str:
    """How many identities are in several manifests."""
    names = pa.concat_arrays([_names(manifest) for manifest in manifests])
    counts = names.value_counts().field("counts")
    shared = pc.sum(pc.greater(counts, 1)).as_py() or 0
    return f"{shared:,} identities are in several manifests, by equal names; --prefix {STEM} keeps them apart"


def _names(manifest: Manifest) -> pa.Array:
    """Each identity once."""
    groups = row_groups(manifest.path, MANIFEST, ["identity"])
    return pa.concat_arrays([table["identity"].cast(TEXT).unique() for table in groups]).unique()

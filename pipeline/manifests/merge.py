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


def merge_manifests(
    manifests: Sequence[Path],
    out: Path,
    options: IngestOptions,
    prefix: str | None = None,
    bars: Bars = NO_BARS,
    say: Say = lambda line: None,
) -> IngestSummary:
    """Write the manifest `out` of all rows of `manifests`; identities are numbered anew, splits are kept.

    Args:
        options: what an ingest does after it has read its source; the source's own options say nothing here.
        prefix: None: equal names are one identity. `stem`: every identity is called `MANIFEST/NAME`, after the file
            that it is from; other names, one for each manifest, are separated by commas.

    Raises:
        InputError: one is no manifest; some hold their images and others do not; an identity is trained on in one and
            held out in another; the prefixes are not one for each, or equal.
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

    def read(sources: Sequence[Path], options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
        return _list(sources, prefixes, spool)

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


def _list(paths: Sequence[Path], prefixes: Sequence[str], spool: ImageSpool) -> Listing:
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
    tables = (
        table
        for manifest, prefix in zip(manifests, prefixes, strict=True)
        for table in _rows(manifest, prefix, schema, spool)
    )
    # Images must be in the spool before the rows are read.
    rows = pa.concat_tables(tables) if inline[0] else streamed(schema, tables)
    notes = () if any(prefixes) else (_shared(manifests),)
    return Listing(rows, "manifests: identity, uri, split and all else as they have it", notes)


def _plain(kind: pa.DataType) -> pa.DataType:
    return TEXT if pa.types.is_dictionary(kind) else kind


def _rows(manifest: Manifest, prefix: str, schema: pa.Schema, spool: ImageSpool) -> Iterator[pa.Table]:
    """The rows of one manifest, its uris whole."""
    place = placed_from(manifest.folder)
    images = ["image"] if "image" in manifest.columns else []
    known = [name for name in schema.names if name in manifest.columns]
    for table in row_groups(manifest.path, MANIFEST, [*known, *images]):
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

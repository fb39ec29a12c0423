"""Sorted image rows -> the manifest file, one row group at a time, hashed on the way."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from ...mining.parquet_tables import parquet_writer, write_parquet
from ...mining.schemas import BOX, MANIFEST, QUARANTINE
from .content_hash import ContentHash
from .row_scratch import regrouped

_COLUMNS = ("identity", "identity_id", "uri", "offset", "length", "image", "split", "keep", "group")
_COLUMNS += ("is_query", "is_gallery", *BOX)

# A reader decompresses a whole row group to get one image out of it.
_ROW_GROUP, _INLINE_ROW_GROUP = 65_536, 1_024


def quarantine_path(out: Path) -> Path:
    """Where the bad images that are left out of `out`, a manifest or embeddings, are listed.

    >>> quarantine_path(Path("photos.parquet")).name, quarantine_path(Path("photos.npy")).name
    ('photos.quarantine.parquet', 'photos.npy.quarantine.parquet')
    """
    return out.with_name(f"{out.stem if out.suffix == '.parquet' else out.name}.quarantine.parquet")


def write_manifest(
    out: Path,
    tables: Iterable[pa.Table],
    optional: Collection[str],
    names: pa.Array,
    images: pa.Array,
    bad: pa.Table,
    wrote: Callable[[int], object] = lambda rows: None,
) -> str:
    """Write the manifest `out`, and the table of `bad` images if there are any; return their fingerprint.

    `tables`, of any size, have identity_id (an index into `names`), uri, split and size; offset and length where
    known; keep, where it is not true everywhere; and `row`, an index into `images`, where these are inline.
    `optional` names those of a manifest's optional columns that they have too. The fingerprint is a hash of all
    that, and of nothing about this machine's memory or clock. Needs memory for one row group; `wrote` hears of each.
    """
    fields = {field.name: field for field in (*MANIFEST.columns, *MANIFEST.optional)}
    left_out = (
        {field.name for field in MANIFEST.optional} - set(optional) - ({"image"} if len(images) else set())
    )
    schema = pa.schema([fields[name] for name in _COLUMNS if name in fields and name not in left_out])
    content = ContentHash()
    size = _INLINE_ROW_GROUP if len(images) else _ROW_GROUP
    with parquet_writer(out, MANIFEST, schema) as writer:
        for some in regrouped(tables, size):
            columns = {name: some[name].chunk(0) for name in some.column_names}
            # The one follows from identity, the other says nothing unless it is given.
            not_content = {"identity_id", *({"keep"} - columns.keys())}
            columns["identity"] = names.take(columns["identity_id"])
            columns.setdefault("keep", pa.repeat(True, len(some)))
            for name in ("offset", "length"):
                columns.setdefault(name, pa.nulls(len(some), pa.int64()))
            if "group" in schema.names:
                columns["group"] = pc.if_else(pc.equal(columns["group"], ""), None, columns["group"])
            if "image" in schema.names:
                columns["image"] = images.take(columns["row"])
            hashed = [name for name in (*schema.names, "size") if name not in not_content]
            content.update(pa.record_batch([columns[name] for name in hashed], names=hashed))
            typed = [_as(field.type, columns[field.name]) for field in schema]
            writer.write_batch(pa.record_batch(typed, schema=schema), row_group_size=size)
            wrote(len(some))
        fingerprint = content.hexdigest()
        writer.add_key_value_metadata({"fingerprint": fingerprint})
        if bad.num_rows:
            write_parquet(quarantine_path(out), QUARANTINE, bad, fingerprint)
        else:
            quarantine_path(out).unlink(missing_ok=True)
    return fingerprint


def _as(kind: pa.DataType, column: pa.Array) -> pa.Array:
    """`column` as `kind`. A dictionary is made for these rows alone, so that each row group stands for itself."""
    if kinds.is_dictionary(kind):
        return column.cast(kind.value_type).dictionary_encode()
    return column.cast(kind)

"""Sorted image rows -> the manifest file, one row group at a time, hashed on the way."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from ...mining.parquet_tables import parquet_writer, write_parquet
from ...mining.schemas import MANIFEST, QUARANTINE
from .content_hash import ContentHash

_COLUMNS = ("identity", "identity_id", "uri", "offset", "length", "image", "split", "keep", "group")
_WHERE_KNOWN = ("x_1", "y_1", "x_2", "y_2", "is_query", "is_gallery")
_NOT_CONTENT = ("identity_id", "keep")  # the one follows from identity, the other is true

# A reader decompresses a whole row group to get one image out of it.
_ROW_GROUP, _INLINE_ROW_GROUP = 65_536, 1_024


def quarantine_path(out: Path) -> Path:
    """Where the bad images that are left out of the manifest `out` are listed."""
    return out.with_name(f"{out.stem}.quarantine.parquet")


def write_manifest(out: Path, rows: pa.Table, names: pa.Array, images: pa.Array, bad: pa.Table) -> str:
    """Write the manifest `out`, and the table of `bad` images if there are any; return their fingerprint.

    `rows` has identity_id (an index into `names`), uri, split and size; offset, length, group, box and query or gallery where known; and
    `row`, an index into `images`, where these are inline. The fingerprint is a hash of all that, and of nothing
    about this machine's memory or clock. Needs memory for one row group.
    """
    fields = {field.name: field for field in (*MANIFEST.columns, *MANIFEST.optional)}
    absent = set() if len(images) else {"image"}
    if "group" not in rows.column_names or pc.all(pc.equal(rows["group"], "")).as_py():
        absent.add("group")
    known = [name for name in _WHERE_KNOWN if name in rows.column_names and rows[name].null_count < len(rows)]
    schema = pa.schema([fields[name] for name in (*_COLUMNS, *known) if name not in absent])
    content = ContentHash()
    size = _INLINE_ROW_GROUP if len(images) else _ROW_GROUP
    with parquet_writer(out, MANIFEST, schema) as writer:
        for start in range(0, rows.num_rows, size):
            some = rows.slice(start, size).combine_chunks()
            columns = {name: some[name].chunk(0) for name in some.column_names}
            columns["identity"] = names.take(columns["identity_id"])
            columns["keep"] = pa.repeat(True, len(some))
            for name in ("offset", "length"):
                columns.setdefault(name, pa.nulls(len(some), pa.int64()))
            if "group" in schema.names:
                columns["group"] = pc.if_else(pc.equal(columns["group"], ""), None, columns["group"])
            if "image" in schema.names:
                columns["image"] = images.take(columns["row"])
            hashed = [name for name in (*schema.names, "size") if name not in _NOT_CONTENT]
            content.update(pa.record_batch([columns[name] for name in hashed], names=hashed))
            typed = [_as(field.type, columns[field.name]) for field in schema]
            writer.write_batch(pa.record_batch(typed, schema=schema), row_group_size=size)
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

"""A file of embeddings: of how many images, whose, how long, and by which network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...mining.embedding_table import EmbeddingTable
from ...mining.parquet_tables import metadata_of
from ...mining.schemas import EMBEDDING_ROWS, IMAGE_EMBEDDINGS
from .summary import Summary

LENGTHS_OF = 10_000
"""Rows whose lengths are measured."""


def describe_image_embeddings(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    """Say what embeddings with their images are."""
    if not file.metadata.num_rows:
        return
    table = EmbeddingTable.open(paths[0])
    numbers = file.schema_arrow.field("embedding").type.value_type
    half = {pa.float16(): "float16", pa.float32(): "float32"}.get(numbers, "float64")
    summary.add("embedding size", table.dimensions, unit=f"numbers, {half}")
    known = {True: "unit", False: "as the network makes them", None: "not said"}[table.normalized]
    summary.add("length", known, "length of the vectors")
    if not table.normalized:
        first = next(table.blocks(min(table.rows, LENGTHS_OF)))
        lengths = np.linalg.norm(first, axis=1)
        summary.add_spread("lengths (5 %, median, 95 %)", lengths, f"length, of the first {len(lengths):,}")
    _describe_images(summary, table.columns, table, file)


def describe_embedding_rows(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    """Say what the rows of a .npy are."""
    columns = [name for name in EMBEDDING_ROWS.optional.names if name in file.schema_arrow.names]
    summary.add("columns", ", ".join(["image", *columns]))
    _describe_metadata(summary, file)


def _describe_images(
    summary: Summary, columns: Sequence[str], table: EmbeddingTable, file: pq.ParquetFile
) -> None:
    summary.add("columns", ", ".join(columns))
    for name, things in (("identity", "identities"), ("split", "splits"), ("group", "groups")):
        column = table.column(name) if name in IMAGE_EMBEDDINGS.optional.names else None
        if column is None:
            continue
        found = column.unique().drop_null()
        summary.add(things, len(found))
        if column.null_count:
            summary.add(f"images without {name}", column.null_count)
    for name, things in (("is_query", "queries"), ("is_gallery", "gallery images")):
        column = table.column(name)
        if column is not None:
            summary.add(things, int(np.sum(column.fill_null(False).to_numpy())))
    _describe_metadata(summary, file)


def _describe_metadata(summary: Summary, file: pq.ParquetFile) -> None:
    said = metadata_of(file)
    summary.add("network", said.get("network", "not said"), "fingerprint of the network")
    try:
        settings = json.loads(said.get("settings", "{}"))
    except ValueError:
        return
    for key in ("flip", "precision", "batch_size"):
        if isinstance(settings, dict) and key in settings:
            summary.add(key.replace("_", " "), str(settings[key]))

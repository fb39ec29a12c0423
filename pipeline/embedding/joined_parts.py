"""The parts of an embedding in one file, and the images that none of them could read in another beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.embedding_files import EmbeddingWriter
from ...mining.errors import DamagedFileError, StaleArtifactError
from ...mining.parquet_tables import row_groups, write_parquet
from ...mining.schemas import IMAGE_EMBEDDINGS, QUARANTINE
from ..rows.manifest_writer import quarantine_path
from .embedding_parts import EmbeddingParts


def add_part(writer: EmbeddingWriter, parts: EmbeddingParts, part: int) -> None:
    """Add a finished part to a file, a row group at a time; one that is damaged is removed.

    Raises:
        StaleArtifactError: it was; the same command makes it again.
    """
    try:
        for rows in row_groups(parts.path(part), IMAGE_EMBEDDINGS, ["embedding", *writer.columns]):
            vectors = rows["embedding"].combine_chunks()
            flat = vectors.flatten().to_numpy().reshape(len(rows), vectors.type.list_size)
            writer.write(flat, {name: rows[name].combine_chunks() for name in writer.columns})
    except DamagedFileError as error:
        parts.forget(part)
        raise StaleArtifactError(f"{error}; it was removed: run the same command to make it again") from error


def write_unreadable(out: Path, parts: EmbeddingParts, refused: pa.Table) -> int:
    """List all unreadable images beside the file `out`, by their names; return how many they are.

    Args:
        refused: what its source could not list (identity, uri, reason).
    """
    path, names = quarantine_path(out), QUARANTINE.columns.names
    tables = [QUARANTINE.columns.empty_table()]
    for part in range(len(parts)):
        tables += row_groups(parts.path(part, "quarantine"), QUARANTINE, names)
    tables.append(
        pa.table(
            {
                "image_id": pa.nulls(len(refused), pa.int64()),
                **{name: refused[name].cast(pa.string()) for name in names[1:]},
            }
        )
    )
    table = pa.concat_tables([one.select(names) for one in tables])
    # They have no row in the file.
    table = table.set_column(0, "image_id", pa.array(np.full(len(table), -1, np.int64)))
    if len(table):
        write_parquet(path, QUARANTINE, table, parts.fingerprint)
    else:
        path.unlink(missing_ok=True)
    return len(table)

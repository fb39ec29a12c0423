"""Plan folders of given batches, cut into files and row groups as a test wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from subspace.mining.parquet_tables import parquet_writer
from subspace.mining.schemas import PLAN


def plan_table(first: int, rows: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "step": pa.array(range(first, first + len(rows)), pa.int64()),
            "subspace_id": pa.array([0] * len(rows), pa.int32()),
            "identity_ids": pa.array([[0, 1]] * len(rows), pa.list_(pa.int32())),
            "image_ids": pa.array(rows.tolist(), pa.list_(pa.int64())),
        }
    )


def write_plan(folder: Path, rows: np.ndarray, parts: list[list[int]]) -> Path:
    """A plan of `rows`, as files with row groups of the given numbers of batches."""
    first = 0
    for number, groups in enumerate(parts):
        path = folder / f"part-{number:05d}.parquet"
        with parquet_writer(path, PLAN, plan_table(0, rows).schema, "f") as writer:
            for size in groups:
                writer.write_table(plan_table(first, rows[first : first + size]))
                first += size
    return folder


def random_rows(batches: int, images: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1 << 40, (batches, images))

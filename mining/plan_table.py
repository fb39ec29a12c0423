"""A batch plan as a folder of Parquet: one row per batch, written block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from .artifacts import parquet_writer, whole_folder
from .batch_plan import BATCHES_PER_BLOCK, PlanBlock
from .manifest import IdentityImages
from .schemas import PLAN


def write_plan(
    folder: Path, blocks: Iterable[PlanBlock], images: IdentityImages, fingerprint: str | None = None
) -> None:
    """Write a plan folder, whole or not at all.

    Args:
        blocks: what `plan_batches` yields for `images`.
        fingerprint: of what the plan was made from; without one, of its content.

    Raises:
        InputError: the folder cannot be written.
    """
    content = hashlib.blake2b(digest_size=16)
    with (
        whole_folder(folder) as aside,
        parquet_writer(aside / "part-00000.parquet", PLAN, PLAN.columns) as writer,
    ):
        for block in blocks:
            columns = [
                pa.array(block.step),
                pa.array(block.subspace_id),
                _lists(images.identity_id[block.identity]),
                _lists(block.image_id),
            ]
            content.update(block.image_id.tobytes())
            writer.write_table(pa.table(columns, schema=PLAN.columns), row_group_size=BATCHES_PER_BLOCK)
        writer.add_key_value_metadata({"fingerprint": fingerprint or content.hexdigest()})


def _lists(rows: np.ndarray) -> pa.ListArray:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))

"""A batch plan as a folder of Parquet: one row per batch, written block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..artifacts import whole_folder
from ..manifest import IdentityImages
from ..parquet_tables import parquet_writer
from ..schemas import PLAN
from .batch_plan import BATCHES_PER_BLOCK, PlanBlock


def plan_parts(folder: Path) -> list[Path]:
    """The files of a plan, in order: not one that is being written, nor what macOS lays beside each on other disks."""
    return sorted(folder.glob("[!.]*.parquet"))


def write_plan(
    folder: Path | str,
    blocks: Iterable[PlanBlock],
    images: IdentityImages,
    fingerprint: str | None = None,
    *,
    row_group_size: int = BATCHES_PER_BLOCK,
) -> None:
    """Write a plan folder, whole or not at all.

    A second thread compresses a block while the next one is drawn.

    Args:
        blocks: what `plan_batches` yields for `images`.
        fingerprint: of what the plan was made from; without one, of its content.
        row_group_size: batches that are read at a time; the rows do not depend on it.

    Raises:
        InputError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from subspace.mining import IdentityImages, PlanConfig, plan_batches, write_plan
        >>> images = IdentityImages(np.arange(4), np.arange(0, 9, 2), np.arange(8))  # 4 identities, 2 images each
        >>> config = PlanConfig(steps=2, P=2, K=2, strategy="subspace")
        >>> folder = Path(tempfile.mkdtemp(), "plan")
        >>> write_plan(folder, plan_batches(images, np.array([0, 0, 1, 1]), config), images)
        >>> [path.name for path in folder.iterdir()]
        ['part-00000.parquet']
    """
    content = hashlib.blake2b(digest_size=16)
    with (
        whole_folder(Path(folder)) as aside,
        # Ids hardly ever repeat within a page: dictionaries would cost twice the time and twice the size.
        parquet_writer(aside / "part-00000.parquet", PLAN, PLAN.columns, use_dictionary=False) as writer,
        ThreadPoolExecutor(1) as second_thread,
    ):
        waiting = PLAN.columns.empty_table()

        def write(block: PlanBlock) -> None:
            nonlocal waiting
            columns = [
                pa.array(block.step),
                pa.array(block.subspace_id),
                _lists(images.identity_id[block.identity]),
                _lists(block.image_id),
            ]
            if fingerprint is None:
                content.update(block.image_id.tobytes())
            waiting = pa.concat_tables([waiting, pa.table(columns, schema=PLAN.columns)])
            whole = len(waiting) // row_group_size * row_group_size
            if whole:
                writer.write_table(waiting.slice(0, whole), row_group_size=row_group_size)
                waiting = waiting.slice(whole)

        writing = None
        for block in blocks:
            if writing:
                writing.result()
            writing = second_thread.submit(write, block)
        if writing:
            writing.result()
        if len(waiting):
            writer.write_table(waiting)
        writer.add_key_value_metadata({"fingerprint": fingerprint or content.hexdigest()})


def _lists(rows: np.ndarray) -> pa.ListArray:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))

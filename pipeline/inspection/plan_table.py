"""A batch plan: its batches, who is drawn how often, and how near a batch's identities are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ...mining.clustering.hardness import mean_hardness
from ...mining.errors import DamagedFileError
from ...mining.parquet_tables import open_parquet, read_row_group
from ...mining.schemas import PLAN
from ..stage_folder import IDENTITIES
from ..stages.hardness import plan_nearest
from .summary import Summary

NEAREST, RANDOM = "cosine to the nearest identity of the batch", "the same in random batches"
MOST_IDS = 2**27
"""Larger ids are damage: they would be counted in 4 bytes each."""


def describe_plan(summary: Summary, paths: Sequence[Path], file: pq.ParquetFile) -> None:
    """Describe a plan in `paths`; hardness where the means of its identities lie beside it."""
    visits, batches = np.zeros(0, np.int32), np.zeros(0, np.int32)
    P = K = everywhere = 0
    for path in paths:  # a row group at a time: a plan may be larger than memory
        for group in range(open_parquet(path).num_row_groups):
            rows = read_row_group(path, PLAN, group, ["subspace_id", "identity_ids"])
            if not len(rows):
                continue
            identity = rows["identity_ids"].combine_chunks().flatten().to_numpy()
            subspace = rows["subspace_id"].to_numpy()
            P = len(identity) // len(rows)
            K = K or len(read_row_group(path, PLAN, group, ["image_ids"])["image_ids"][0]) // P
            everywhere += int((subspace < 0).sum())
            if max(int(identity.max()), int(subspace.max())) >= MOST_IDS:
                raise DamagedFileError(
                    f"{path} is damaged: it has identity {identity.max():,} and subspace {subspace.max():,}, more than "
                    "there can be",
                    str(path),
                )
            visits = _counted(visits, identity)
            batches = _counted(batches, subspace[subspace >= 0])
    drawn = visits[visits > 0]
    summary.add("identities per batch (P)", P)
    summary.add("images per identity (K)", K)
    summary.add("subspaces", int((batches > 0).sum()))
    if everywhere:
        summary.add("batches from all identities", everywhere)
    summary.add("identities drawn", len(drawn))
    summary.add(
        "visits per identity (mean)",
        float(drawn.mean()) if len(drawn) else 0.0,
        "batches per identity (mean)",
    )
    summary.add("visits per identity (most)", int(drawn.max(initial=0)), "batches per identity (most)")
    identities = paths[0].parent.parent / IDENTITIES
    nearest = plan_nearest(paths, identities) if len(visits) else None
    if nearest:
        for title, cosines in zip((NEAREST, RANDOM), nearest, strict=True):
            summary.add(title, mean_hardness(cosines), unit="on average")
            summary.add_cosines(title, cosines.reshape(-1), f"identities of {len(cosines)} batches")
    summary.add_histogram("batches per subspace", batches[batches > 0], "subspaces")


def _counted(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`counts` of 0, 1, 2, ... with those of `values` added; longer where a value asks for it."""
    counts = np.pad(counts, (0, max(0, int(values.max(initial=-1)) + 1 - len(counts))))
    np.add.at(counts, values, 1)
    return counts

"""The headline of a plan: how near the nearest other identity of a batch is, beside random batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...mining.clustering.hardness import HARDNESS_BATCHES, mean_hardness, nearest_in_batches, random_batches
from ...mining.clustering.mean_blocks import MeanBlocks
from ...mining.clustering.mean_table import MeanTable
from ...mining.parquet_tables import open_parquet, read_parquet, read_row_group
from ...mining.schemas import IDENTITIES, PLAN


def plan_hardness(plan: Sequence[Path], identities: Path) -> tuple[float, float] | None:
    """Mean cosine of an identity's mean to the nearest other of its batch, in the plan and in random batches.

    Arguments and exceptions as in `plan_nearest`, of whose figures these are the means.
    """
    nearest = plan_nearest(plan, identities)
    return None if nearest is None else (mean_hardness(nearest[0]), mean_hardness(nearest[1]))


def plan_nearest(plan: Sequence[Path], identities: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Cosines of identities' means to the nearest other of their batch, float32[b, P]: of the plan, of random batches.

    Over batches at equal distances from the first to the last. Memory: a row group of means at a time.

    Args:
        plan: its files, in order.
        identities: the table with the means; None is returned where it is missing or holds other identities.
    """
    if not identities.exists():
        return None
    known = read_parquet(identities, IDENTITIES, ["identity_id"])["identity_id"].to_numpy()
    planned_bP = _sample(plan)
    if not np.isin(planned_bP, known).all() or len(known) < planned_bP.shape[1]:
        return None
    planned_bP, random_bP = np.searchsorted(known, planned_bP), random_batches(len(known), *planned_bP.shape)
    rows = np.unique(np.concatenate((planned_bP, random_bP)))
    means = MeanBlocks(MeanTable(identities)).rows(rows)
    planned, random = (
        nearest_in_batches(means, np.searchsorted(rows, batches_bP)) for batches_bP in (planned_bP, random_bP)
    )
    return planned, random


def _sample(plan: Sequence[Path]) -> np.ndarray:
    """Identity ids of at most `HARDNESS_BATCHES` batches: int[b, P]."""
    groups = [
        (part, group, metadata.row_group(group).num_rows)
        for part in plan
        for metadata in [open_parquet(part, PLAN).metadata]
        for group in range(metadata.num_row_groups)
    ]
    first = np.cumsum([0] + [rows for _, _, rows in groups])
    steps = np.unique(np.linspace(0, first[-1] - 1, HARDNESS_BATCHES).astype(np.int64))
    home = np.searchsorted(first, steps, side="right") - 1
    batches = []
    for number in np.unique(home).tolist():
        part, group, rows = groups[number]
        flat = read_row_group(part, PLAN, group, ["identity_ids"])["identity_ids"].combine_chunks().flatten()
        batches.append(flat.to_numpy().reshape(rows, -1)[steps[home == number] - first[number]])
    return np.concatenate(batches)

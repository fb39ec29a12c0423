"""Identity means of a round without an extraction: the running means that the round before gathered in training."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ...mining.machine import memory_with
from ...mining.parquet_tables import read_parquet, write_parquet
from ...mining.schemas import IDENTITIES, QUARANTINE, vector
from ...train.checkpoint import load_running_means, running_means_file
from ..console import amount
from .context import Context
from .stage import Stage, run_stage


def refresh_means(context: Context, stage: Stage) -> dict[str, Any]:
    """Write the identities table of a round from the running means in the checkpoint of the round before.

    Names, numbers of images and the quarantine are those of the round before.
    """
    before = context.before

    def estimate() -> str:
        identities = read_parquet(before.identities, IDENTITIES, ["identity_id"]).num_rows
        size = running_means_file(before.checkpoint).stat().st_size
        memory = memory_with(4 * size + 60 * identities)  # read, at unit length, squared for it, as a table
        return (
            f"running means of {identities:,} identities, {amount(memory)} of memory, {amount(size)} of disk"
        )

    def work() -> dict[str, Any]:
        known = read_parquet(before.identities, IDENTITIES, ["identity_id", "identity", "images"])
        running = load_running_means(before.checkpoint)
        means = running.means()
        table = known.append_column(
            "mean",
            pa.FixedSizeListArray.from_arrays(pa.array(means.ravel()), type=vector(means.shape[1])),
        ).append_column("spread", pa.array(running.spread(), pa.float32()))
        quarantine = read_parquet(before.quarantine, QUARANTINE)
        write_parquet(stage.folder.quarantine, QUARANTINE, quarantine, stage.fingerprint)
        write_parquet(stage.folder.identities, IDENTITIES, table, stage.fingerprint)
        context.say(
            f"{stage.label}: {len(table):,} identity means as they ran in training, no image embedded"
        )
        return {"identities": len(table), "quarantined": len(quarantine), "images_per_second": None}

    return run_stage(stage, context.options, estimate, work)

"""Identity means of a round without an extraction: the running means that the round before gathered in training."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ...mining.machine import memory_with
from ...mining.parquet_tables import parquet_writer, read_parquet, write_parquet
from ...mining.schemas import IDENTITIES, QUARANTINE, vector
from ...train.checkpoint import load_running_means, running_means_file
from ...train.running_means import RunningMeans
from ..console import amount
from ..estimates.estimate import of_memory
from ..stage_folder import EMBEDDINGS
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
        part = min(1, context.config.extract.identities_per_part / max(1, identities))
        # Pages of the file count beside what is read of them; a part is made of unit length, squared for it, and a table.
        memory = memory_with((2 + 4 * part) * size + 200 * identities, torch_comes=True)
        return f"running means of {identities:,} identities, {of_memory(memory)}, {amount(size)} of disk"

    def work() -> dict[str, Any]:
        known = read_parquet(before.identities, IDENTITIES, ["identity_id", "identity", "images"])
        running = load_running_means(before.checkpoint)
        vector_type, part = vector(running.vector.shape[1]), context.config.extract.identities_per_part

        def table_of(rows: slice) -> pa.Table:
            some = RunningMeans(running.vector[rows])
            means = pa.FixedSizeListArray.from_arrays(pa.array(some.means().ravel()), type=vector_type)
            spread = pa.array(some.spread(), pa.float32())
            return known[rows].append_column("mean", means).append_column("spread", spread)

        # An extraction that was killed before its end may have left some.
        stage.folder.file(EMBEDDINGS).unlink(missing_ok=True)
        quarantine = read_parquet(before.quarantine, QUARANTINE)
        write_parquet(stage.folder.quarantine, QUARANTINE, quarantine, stage.fingerprint)
        schema = table_of(slice(0, 0)).schema
        with parquet_writer(stage.folder.identities, IDENTITIES, schema, stage.fingerprint) as writer:
            for start in range(0, len(known), part):
                writer.write_table(table_of(slice(start, start + part)))
        context.say(
            f"{stage.label}: {len(known):,} identity means as they ran in training, no image embedded"
        )
        return {"identities": len(known), "quarantined": len(quarantine), "images_per_second": None}

    return run_stage(stage, context.options, estimate, work)

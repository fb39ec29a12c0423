"""`subspace plan`: subspaces to a plan of batches, one Parquet row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..mining.artifacts import read_parquet
from ..mining.batch_plan import BATCHES_PER_BLOCK, PlanBlock, plan_batches
from ..mining.errors import InputError, StaleArtifactError
from ..mining.manifest import IdentityImages, Manifest
from ..mining.neighbors import HARDNESS_BATCHES, batch_hardness, nearest_in_subspace, random_batches
from ..mining.plan_table import write_plan
from ..mining.schemas import QUARANTINE
from ..train.planned_batches import Plan
from .cluster import means_of, read_identities, read_subspaces
from .config import RunConfig
from .console import Console, amount
from .extract import extract_stage
from .run_directory import RunDirectory
from .stage import Options, Stage, done_fingerprint, flat_fields, run_stage


def plan_stage(run: RunDirectory, config: RunConfig, manifest_fingerprint: str, round_index: int) -> Stage:
    """The stage, for this configuration and the subspaces of the round."""
    folder = run.round(round_index)
    return Stage(
        "plan",
        folder,
        {
            "subspaces": done_fingerprint(
                folder, "cluster", f"subspace cluster {run.path} --round {round_index}"
            ),
            "manifest": manifest_fingerprint,
            "data.train_splits": list(config.data.train_splits),
            "seed": config.seed,
            "round": round_index,
            **flat_fields("plan", config.plan.model_dump()),
        },
        ("plan",),
        f"subspace plan {run.path} --round {round_index}",
    )


def plan(
    run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options, *, round_index: int
) -> dict[str, Any]:
    """Write the batch plan of a round, and say how much harder its batches are than random ones."""
    stage, folder = plan_stage(run, config, manifest.fingerprint, round_index), run.round(round_index)
    if not extract_stage(run, config, round_index, manifest.fingerprint).is_done():
        raise InputError(f"{folder} has no identity means yet; run `subspace extract {run.path}` first")

    def estimate() -> str:
        slots, identities = (
            config.plan.steps * config.plan.P * config.plan.K,
            read_identities(run, round_index, ["images"]),
        )
        memory = 100 * len(identities) + 8 * manifest.table.num_rows + 400 * BATCHES_PER_BLOCK * config.plan.P
        return (
            f"{config.plan.steps:,} batches of {config.plan.P} identities × {config.plan.K} images, about "
            f"{max(1, slots / 5e6):,.0f} s, {amount(memory)} of memory, {amount(slots * 5)} of disk"
        )

    def work() -> dict[str, Any]:
        identities = read_identities(run, round_index)
        subspace_id = read_subspaces(run, round_index)
        images = readable_images(manifest, config, folder, identities["identity_id"].to_numpy())
        single = images.count == 1
        used = ~single if config.plan.singletons == "drop" else np.ones(len(images), bool)
        if single.any():
            options.console.say(
                f"{folder.name}/plan: {single.sum():,} identities have one image (plan.singletons={config.plan.singletons})"
            )
        images, subspace_id, means = images.where(used), subspace_id[used], means_of(identities)[used]
        neighbors = None
        if config.plan.draw.group_size > 1:
            neighbors = nearest_in_subspace(means, subspace_id, config.plan.draw.group_size - 1)
        blocks = plan_batches(
            images, subspace_id, config.plan, neighbors=neighbors, seed=config.seed, round_index=round_index
        )
        write_plan(
            folder / "plan", shown(blocks, config.plan.steps, options.console), images, stage.fingerprint
        )
        planned, random = _hardness(means, images, Plan(folder / "plan"), config)
        options.console.say(
            f"{folder.name}/plan: the nearest other identity of a batch has cosine {planned:.3f} on average, "
            f"in random batches {random:.3f}"
        )
        return {
            "batches": config.plan.steps,
            "singletons": int(single.sum()),
            "hardness": planned,
            "random_hardness": random,
        }

    return run_stage(stage, options, estimate, work)


def readable_images(
    manifest: Manifest, config: RunConfig, folder: Path, identity_id: np.ndarray
) -> IdentityImages:
    """The training identities with their images, without those in the round's quarantine.

    Raises:
        StaleArtifactError: they are not the identities whose means the round holds.
    """
    quarantined = read_parquet(folder / "quarantine.parquet", QUARANTINE, ["image_id"])["image_id"].to_numpy()
    images = manifest.identities_in(config.data.train_splits, without=quarantined)
    if not np.array_equal(images.identity_id, identity_id):
        raise StaleArtifactError(
            f"{folder}/identities.parquet holds other identities than {manifest.path}; "
            f"remake it with `subspace extract {folder.parent} --force`"
        )
    return images


def shown(blocks: Iterable[PlanBlock], steps: int, console: Console) -> Iterator[PlanBlock]:
    """Yield `blocks` with a progress bar over their `steps` batches."""
    with console.progress("plan", steps, "batches") as progress:
        for block in blocks:
            yield block
            progress.update(len(block))


def _hardness(
    means: np.ndarray, images: IdentityImages, plan: Plan, config: RunConfig
) -> tuple[float, float]:
    """Hardness of the plan's first batches, and of as many random ones."""
    first_image_bP = np.stack(
        [plan[step][:: config.plan.K] for step in range(min(HARDNESS_BATCHES, len(plan)))]
    )
    image_row = np.searchsorted(images.image_id, first_image_bP)
    planned = np.searchsorted(images.offset, image_row, side="right") - 1
    random = random_batches(len(means), *planned.shape, seed=config.seed)
    return batch_hardness(means, planned), batch_hardness(means, random)

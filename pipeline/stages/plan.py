"""`subspace plan`: subspaces to a plan of batches, one Parquet row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.artifacts import read_parquet
from ...mining.clustering.mean_table import MeanTable
from ...mining.clustering.neighbors import nearest_in_subspace
from ...mining.errors import InputError, StaleArtifactError
from ...mining.manifest import IdentityImages, Manifest
from ...mining.planning.batch_plan import BATCHES_PER_BLOCK, PlanBlock, plan_batches
from ...mining.planning.plan_table import write_plan
from ...mining.planning.settings import PlanConfig
from ...mining.planning.shards import shards_of
from ...mining.schemas import QUARANTINE
from ..config import RunConfig
from ..console import Console, amount
from ..run_directory import RunDirectory
from .extract import extract_stage
from .hardness import plan_hardness
from .round_tables import read_duplicates, read_identities, read_second_subspaces, read_subspaces
from .stage import Options, Stage, done_fingerprint, flat_fields, run_stage, steps_taken

SPARE_NEIGHBORS = 16
"""Looked at for a group beyond its size, since suspected duplicates leave it where they are kept apart."""


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
            **flat_fields("plan", round_plan(run, config, round_index).model_dump()),
        },
        ("plan",),
        f"subspace plan {run.path} --round {round_index}",
    )


def round_plan(run: RunDirectory, config: RunConfig, round_index: int) -> PlanConfig:
    """The plan's settings for a round: no more steps than the run has left.

    Raises:
        InputError: it has none left.
    """
    left = config.total_steps - steps_taken(run, round_index)
    if left <= 0:
        raise InputError(
            f"{run.round(round_index)} would be a round too many: all {config.total_steps:,} steps of the run "
            f"(rounds * plan.steps) are done; set rounds higher"
        )
    return config.plan.model_copy(update={"steps": min(config.plan.steps, left)})


def plan(
    run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options, *, round_index: int
) -> dict[str, Any]:
    """Write the batch plan of a round, and say how much harder its batches are than random ones."""
    stage, folder = plan_stage(run, config, manifest.fingerprint, round_index), run.round(round_index)
    settings = round_plan(run, config, round_index)
    if not extract_stage(run, config, round_index, manifest.fingerprint).is_done():
        raise InputError(f"{folder} has no identity means yet; run `subspace extract {run.path}` first")

    def estimate() -> str:
        slots, identities = (
            settings.steps * settings.P * settings.K,
            read_identities(run, round_index, ["images"]),
        )
        memory = 100 * len(identities) + 12 * manifest.table.num_rows + 400 * BATCHES_PER_BLOCK * settings.P
        return (
            f"{settings.steps:,} batches of {settings.P} identities × {settings.K} images, about "
            f"{max(1, slots / 5e6):,.0f} s, {amount(memory)} of memory, {amount(slots * 3)} of disk"
        )

    def work() -> dict[str, Any]:
        images, used = planned_identities(run, config, manifest, round_index)
        single = int((images.count == 1).sum())
        if single:
            options.console.say(
                f"{folder.name}/plan: {single:,} identities have one image (plan.singletons={settings.singletons})"
            )
        images, subspace_id = images.where(used), read_subspaces(run, round_index)[used]
        apart = (
            read_duplicates(run, round_index, images.identity_id) if settings.duplicates == "apart" else None
        )
        neighbors = None
        if settings.draw.group_size > 1 and settings.seeds_per_batch:
            means = MeanTable(folder / "identities.parquet").as_array(folder)
            means = means if used.all() else means[used]
            spare = 0 if apart is None else SPARE_NEIGHBORS
            neighbors = nearest_in_subspace(means, subspace_id, settings.draw.group_size - 1 + spare)
        second = read_second_subspaces(run, round_index)
        blocks = plan_batches(
            images,
            subspace_id,
            settings,
            neighbors=neighbors,
            second_subspace=None if second is None else second[used],
            apart=apart,
            seed=config.seed,
            round_index=round_index,
        )
        write_plan(folder / "plan", shown(blocks, settings.steps, options.console), images, stage.fingerprint)
        hardness = plan_hardness(sorted((folder / "plan").glob("*.parquet")), folder / "identities.parquet")
        assert hardness is not None  # the identities are those of the round
        planned, random = hardness
        options.console.say(
            f"{folder.name}/plan: the nearest other identity of a batch has cosine {planned:.3f} on average, "
            f"in random batches {random:.3f}"
        )
        return {
            "batches": settings.steps,
            "singletons": single,
            "hardness": planned,
            "random_hardness": random,
        }

    return run_stage(stage, options, estimate, work)


def planned_identities(
    run: RunDirectory, config: RunConfig, manifest: Manifest, round_index: int
) -> tuple[IdentityImages, np.ndarray]:
    """The identities of a round with their images, and bool[N]: those that are planned (`plan.singletons`)."""
    identity_id = read_identities(run, round_index, ["identity_id"])["identity_id"].to_numpy()
    images = readable_images(manifest, config, run.round(round_index), identity_id)
    keep_all = config.plan.singletons != "drop"
    return images, np.ones(len(images), bool) if keep_all else images.count > 1


def list_shards(
    run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options, *, round_index: int
) -> list[dict[str, Any]]:
    """Print the shards of every subspace, `subspace_id<TAB>uri<TAB>images` a line, and return them with bytes.

    Groups and seeds of a batch have their images there; what `plan.random_fraction` draws is anywhere.
    """
    if "image" in manifest.table.column_names:
        options.console.say(f"{manifest.path} holds the images themselves: there are no shards")
        return []
    done_fingerprint(run.round(round_index), "cluster", f"subspace cluster {run.path} --round {round_index}")
    images, used = planned_identities(run, config, manifest, round_index)
    shards: pa.Table = shards_of(manifest, images.where(used), read_subspaces(run, round_index)[used])
    rows = shards.to_pylist()
    if not options.console.as_json:
        for row in rows:
            print(row["subspace_id"], row["uri"], row["images"], sep="\t")
    return rows


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

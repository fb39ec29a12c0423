"""`subspace plan`: subspaces to a plan of batches, one Parquet row each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.clustering.hardness import HARDNESS_BATCHES
from ...mining.clustering.mean_table import IN_MEMORY, MeanTable
from ...mining.clustering.product_speed import kept_seconds, nearest_seconds
from ...mining.clustering.settings import subspace_count
from ...mining.errors import InputError, StaleArtifactError
from ...mining.local_paths import in_shell
from ...mining.machine import memory_with
from ...mining.manifest import IdentityImages
from ...mining.planning.batch_plan import BATCHES_PER_BLOCK, PlanBlock, plan_batches
from ...mining.planning.plan_table import plan_parts, write_plan
from ...mining.planning.positive_pairs import PairedBatches, with_pairs
from ...mining.planning.settings import PlanConfig
from ...mining.planning.shards import shards_of
from ...train.losses.building import pair_losses_of
from ..configuration.config import RunConfig
from ..console import Console, amount, percent
from ..estimates.estimate import Estimate, of_memory
from ..estimates.imports import torch_seconds
from ..estimates.row_speed import row_seconds
from ..stage_words import duplicates_in_words
from ..terminal_text import printable_line
from .cluster import clustering_device
from .context import Context
from .evaluate import show_figures
from .graph import finished, row, steps_taken
from .round_tables import (
    read_duplicate_trust,
    read_duplicates,
    read_identities,
    read_quarantine,
    read_second_subspaces,
    read_subspaces,
    validated_rank_1,
)
from .stage import flat_fields, run_stage

SINGLETONS_ARE = {
    "negatives_only": "are negatives only",
    "drop": "are left out",
    "augment": "are augmented into pairs",
}
"""What becomes of identities with one image, by `plan.singletons`."""
PASSES, SLOT = 3, 100
"""What the estimate counts: readings of all means, and places of a partial sort that a place in a batch takes."""
SPARE_NEIGHBORS = 16
"""Looked at for a group beyond its size, since suspected duplicates leave it where they are kept apart."""


def plan_fields(context: Context) -> dict[str, Any]:
    """What the plan depends on, besides the subspaces and the manifest."""
    return {
        **context.left_out.fields,
        "data.train_splits": list(context.config.data.train_splits),
        "seed": context.config.seed,
        "round": context.round_index,
        **flat_fields("plan", round_settings(context).model_dump()),
    }


def round_settings(context: Context) -> PlanConfig:
    """The plan's settings for a round: no more steps than the run has left.

    Raises:
        InputError: it has none left.
    """
    config = context.config
    left = config.total_steps - steps_taken(context.run, context.round_index)
    if left <= 0:
        raise InputError(
            f"{context.folder} would be a round too many: all {config.total_steps:,} steps of the run "
            f"(rounds * plan.steps) are done; set rounds higher"
        )
    return config.plan.model_copy(update={"steps": min(config.plan.steps, left)})


def plan_round(context: Context) -> dict[str, Any]:
    """Write the batch plan of a round, and say how much harder its batches are than random ones."""
    stage, folder, settings = row("plan").stage(context), context.folder, round_settings(context)
    if not row("extract").stage(context).is_done():
        raise InputError(
            f"{folder} has no identity means yet; run `subspace extract {in_shell(context.run.path)}` first"
        )

    def estimate() -> Estimate:
        slots = settings.steps * settings.P * settings.K
        identities = read_identities(folder, ["images"])
        means = MeanTable(folder.identities)
        N, D = means.shape
        memory = (
            100 * len(identities)
            + 40 * len(context.manifest)
            + 400 * BATCHES_PER_BLOCK * settings.P
            + 3 * means.group_bytes
            + 8 * min(N, 2 * HARDNESS_BATCHES * settings.P) * D
        )
        seconds = (
            torch_seconds()
            + PASSES * N * row_seconds(lambda rows: means[rows], N)
            + slots * SLOT * kept_seconds()
        )
        grouped = settings.draw.group_size > 1 and settings.seeds_per_batch > 0
        if grouped:  # each with all others of its subspace
            memory += min(means.nbytes, IN_MEMORY) + 16 * N * (settings.draw.group_size + SPARE_NEIGHBORS)
            subspaces = subspace_count(N, context.config.cluster.ids_per_subspace)
            seconds += nearest_seconds(N, N / subspaces, D, settings.draw.group_size + SPARE_NEIGHBORS)
        return Estimate(
            f"{settings.steps:,} batches of {settings.P} identities × {settings.K} images",
            seconds,
            f", {of_memory(memory_with(memory, torch_comes=True))}, {amount(slots * 3)} of disk"
            f"{context.left_out.words}",
        )

    def work() -> dict[str, Any]:
        from .hardness import plan_hardness

        images, used = planned_identities(context)
        single = int((images.count == 1).sum())
        if single:
            are = SINGLETONS_ARE[settings.singletons]
            context.say(
                f"{stage.label}: {single:,} of {len(images):,} identities have one image and {are} "
                f"(plan.singletons={settings.singletons})"
            )
        refuse_unpaired_plan(context.config, images.count)
        images, subspace_id = images.where(used), read_subspaces(folder)[used]
        apart = read_duplicates(folder, images.identity_id) if settings.duplicates == "apart" else None
        if apart is not None:
            _warn_of_noise(context, stage.label)
        neighbors = None
        if settings.draw.group_size > 1 and settings.seeds_per_batch:
            context.options.stop.hold(
                lambda: import_module("torch")
            )  # a signal inside would abort the process
            from ...mining.clustering.neighbors import nearest_in_subspace

            device = clustering_device(context.options)
            context.say(f"{stage.label}: searching for neighbours on {device}")
            means = MeanTable(folder.identities).as_array(folder.path, used)
            spare = 0 if apart is None else SPARE_NEIGHBORS
            wanted = settings.draw.group_size - 1 + spare
            with context.options.console.progress("plan: neighbours", len(means), "identities") as progress:
                neighbors = nearest_in_subspace(
                    means, subspace_id, wanted, device=device, progress=progress.update
                )
        second = read_second_subspaces(folder)
        blocks = plan_batches(
            images,
            subspace_id,
            settings,
            neighbors=neighbors,
            second_subspace=None if second is None else second[used],
            apart=apart,
            seed=context.config.seed,
            round_index=context.round_index,
        )
        counted = PairedBatches(with_pairs(images.count, settings))
        bar = with_bar(counted.over(blocks), settings.steps, context.options.console)
        write_plan(folder.plan, bar, images, stage.fingerprint)
        if counted.paired < counted.batches and (losses := pair_losses_of(context.config.train.loss)):
            share = f"{counted.paired:,} of {counted.batches:,} batches ({percent(counted.paired / counted.batches)})"
            say = f"{stage.label}: {share} hold two images of an identity; {losses[0]} learns nothing from the others"
            if not counted.paired:
                raise InputError(f"{say}; give plan.singletons=drop or augment")
            context.say(say)
        hardness = plan_hardness(plan_parts(folder.plan), folder.identities)
        assert hardness is not None  # the identities are those of the round
        planned, random = hardness
        context.say(
            f"{stage.label}: the nearest other identity of a batch has cosine {planned:.3f} on average, "
            f"in random batches {random:.3f}"
        )
        return {
            "batches": settings.steps,
            "singletons": single,
            "hardness": planned,
            "random_hardness": random,
            **({"paired_batches": counted.paired} if counted.paired < counted.batches else {}),
        }

    marker = run_stage(stage, context.options, estimate, work)
    show_figures(context)
    return marker


def _warn_of_noise(context: Context, label: str) -> None:
    """Say where identities are kept apart that only a young network takes for duplicates."""
    trust = read_duplicate_trust(context.folder)
    if trust is not None and not trust.reliable:
        words = duplicates_in_words(trust, validated_rank_1(context.before))
        context.say(
            f"{label}: {words}; plan.duplicates=apart keeps look-alikes out of each other's batches: "
            f"plan.duplicates=together until fewer are suspected"
        )


def refuse_unpaired_plan(config: RunConfig, images_I: np.ndarray) -> None:
    """Refuse a plan in which no identity has two images, `images_I` of each, for a loss that learns from pairs.

    Raises:
        InputError: it is such a plan and such a loss; the line says what can be changed.
    """
    refuse_unpaired("plan", "train.loss", config.train.loss, images_I, config.plan)


def refuse_unpaired(
    section: str, setting: str, loss: str, images_I: np.ndarray, settings: PlanConfig
) -> None:
    """As `refuse_unpaired_plan`, of a plan whose settings are `section` and of the loss that `setting` names.

    Raises:
        InputError: no batch can hold two images of an identity.
    """
    losses = pair_losses_of(loss, setting)
    if not losses or with_pairs(images_I, settings).any():
        return
    learns = f"{setting}={loss} learns from two images of an identity in a batch"
    or_classes = f"or {setting} to a loss over classes, such as arcface"
    if settings.K < 2:
        raise InputError(f"{learns}, but {section}.K={settings.K}: set it to 2 or more, {or_classes}")
    if settings.max_images == 1:
        raise InputError(f"{learns}, but {section}.max_images=1: set it to 2 or more, {or_classes}")
    also = ", set plan.singletons=augment" if section == "plan" else ""
    raise InputError(
        f"{learns}, but each of the {len(images_I):,} identities has one: see that the manifest's identities are the ones "
        f"that you mean (`subspace inspect`){also}, {or_classes}"
    )


def planned_identities(context: Context) -> tuple[IdentityImages, np.ndarray]:
    """The identities of a round with their images, and bool[N]: those that are planned (`plan.singletons`)."""
    images = readable_images(context)
    keep_all = context.config.plan.singletons != "drop"
    return images, np.ones(len(images), bool) if keep_all else images.count > 1


def list_shards(context: Context) -> list[dict[str, Any]]:
    """Print the shards of every subspace, `subspace_id<TAB>uri<TAB>images` a line, and return them with bytes.

    Seeds of a batch and their groups have their images there; what `plan.random_fraction` draws is anywhere, and the
    group of a seed that is here by `cluster.overlap` lies in its own subspace.
    """
    manifest = context.manifest
    if "image" in manifest.columns:
        context.say(f"{manifest.path} holds the images themselves: there are no shards")
        return []
    finished(context, "cluster", context.round_index)
    images, used = planned_identities(context)
    first, second = read_subspaces(context.folder), read_second_subspaces(context.folder)
    shards: pa.Table = shards_of(
        manifest, images.where(used), first[used], None if second is None else second[used]
    )
    rows = shards.to_pylist()
    if not context.options.console.as_json:
        shown = printable_line if sys.stdout.isatty() else str  # a program gets names as they are
        for shard in rows:
            print(shard["subspace_id"], shown(shard["uri"]), shard["images"], sep="\t")
    return rows


def readable_images(context: Context) -> IdentityImages:
    """The training identities that have a mean in the round, with their images, but for those in its quarantine.

    An identity none of whose sampled images could be read has no mean, so it is in no subspace and no batch.

    Raises:
        StaleArtifactError: the round holds means of identities that the manifest has not.
    """
    folder, manifest = context.folder, context.manifest
    quarantined = read_quarantine(folder, len(manifest))
    images = context.training_identities(without=quarantined)
    identity_id = read_identities(folder, ["identity_id"])["identity_id"].to_numpy()
    images = images.where(np.isin(images.identity_id, identity_id))
    if not np.array_equal(images.identity_id, identity_id):
        raise StaleArtifactError(
            f"{folder.identities} holds other identities than {manifest.path}; "
            f"remake it with `subspace extract {in_shell(context.run.path)} --force`"
        )
    return images


def with_bar(blocks: Iterable[PlanBlock], steps: int, console: Console) -> Iterator[PlanBlock]:
    """Yield `blocks` with a progress bar over their `steps` batches."""
    with console.progress("plan", steps, "batches") as progress:
        for block in blocks:
            yield block
            progress.update(len(block))

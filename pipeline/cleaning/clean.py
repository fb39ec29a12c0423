"""`subspace clean`: embeddings of the training images to suspects.parquet and keep.parquet. The manifest is not touched."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...mining.artifacts import take_room, unwritable
from ...mining.cleaning.keep_table import MANIFEST_READ
from ...mining.cleaning.settings import CleanConfig
from ...mining.clustering.mean_table import IN_MEMORY, MeanTable
from ...mining.clustering.product_speed import compared_seconds, nearest_seconds, product_rate
from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...mining.machine import memory_with
from ...mining.parquet_tables import read_parquet, write_parquet
from ...mining.schemas import EMBEDDINGS, KEEP, SUSPECTS
from .. import stage_folder as files
from ..console import amount
from ..estimates.estimate import Estimate, of_memory
from ..estimates.imports import torch_seconds
from ..estimates.row_speed import row_seconds
from ..faults.sealed_files import Sealed
from ..stages.cluster import LARGEST_SEARCHED, NEIGHBORS, clustering_device
from ..stages.context import Context
from ..stages.graph import row
from ..stages.stage import Stage, flat_fields, run_stage
from .suspects_table import findings_in_words, identities_in_pairs, table_of_kept, table_of_suspects
from .training_embeddings import TrainingEmbeddings, network_fields

OVERFIT_ONLY = ("overfit_epochs", "overfit_classes", "overfit_rounds")
BYTES_AN_IMAGE = 150
PASSES = 8
"""Readings of all embeddings that the estimate counts."""
BLOCKS = 10
"""Embeddings of a block and what is computed of them, in sizes of a block."""
LOOKED_UP = 0.1
"""Share of the images that is compared with all identities, as a guess beforehand."""


def clean_fields(context: Context) -> dict[str, Any]:
    """What the suspects depend on.

    Raises:
        InputError: they depend on the round's subspaces, which are not there.
    """
    settings = context.config.clean
    without = () if settings.method == "overfit" else OVERFIT_ONLY
    clustering = _clustering(context)
    return {
        "seed": context.config.seed,
        **network_fields(context),
        **flat_fields("clean", settings.model_dump(), without=without),
        **({} if clustering is None else {"cluster": clustering.folder.record("cluster")["fingerprint"]}),
    }


def _clustering(context: Context) -> Sealed | None:
    """The round's subspaces, where more identities than can be compared with each other are searched for duplicates."""
    identities = len(context.manifest.identities_in(context.config.data.train_splits))
    if identities <= LARGEST_SEARCHED:
        return None
    command = row("cluster").command_in(context.run, context.round_index)
    if not context.folder.finished("cluster"):
        raise InputError(
            f"{identities:,} identities are too many to compare each with each; `{command}` divides them first"
        )
    return Sealed(context.folder, "cluster", command, files.SUBSPACES)


def clean_round(context: Context) -> dict[str, Any]:
    """Look for wrong names with the network that a round begins with; write suspects.parquet and keep.parquet.

    Raises:
        InputError: there is no network yet, or fewer than two identities.
    """
    settings, folder = context.config.clean, context.folder
    embeddings, clustering = TrainingEmbeddings(context), _clustering(context)
    command = f"subspace clean {in_shell(context.run.path)} --round {context.round_index}"
    stage = Stage(
        "clean", folder, clean_fields(context), (files.KEEP, files.SUSPECTS), command, command,
        (embeddings.sealed, *([clustering] if clustering else ())),
    )  # fmt: skip
    if not embeddings.make():
        context.say(f"{stage.label}: then {_estimate(context, *_shape_beforehand(context))}")
        context.say("dry run: nothing was done")
        return {"stage": "clean", "dry_run": True}

    def estimate() -> Estimate:
        table = MeanTable(embeddings.path, EMBEDDINGS, "embedding")
        n, D = table.shape
        return _estimate(context, n, D, PASSES * n * row_seconds(lambda rows: table[rows], n))

    def work() -> dict[str, Any]:
        return _work(context, stage, embeddings.path, settings)

    marker = run_stage(stage, context.options, estimate, work)
    if "summary" in marker:
        for line in findings_in_words(marker["summary"], settings):
            context.say(f"{stage.label}: {line}")
        if _identities_left(folder.file(files.KEEP)) > 1:
            _say_how_to_use(context)
        else:
            context.say(
                "fewer than two identities would be left: a network whose embeddings are all alike makes every image a suspect, so look "
                "at it first; or give a lower clean.min_images"
            )
    return marker


def _estimate(context: Context, n: int, D: int, reading: float = 0.0) -> Estimate:
    """What the search in n embeddings of D numbers takes, beside the seconds of reading them."""
    settings = context.config.clean
    identities = len(context.manifest.identities_in(context.config.data.train_splits))
    compared = LOOKED_UP * n + min(identities, LARGEST_SEARCHED)  # the latter for duplicates
    seconds = reading + n * D * 150 / product_rate() + torch_seconds()
    seconds += nearest_seconds(compared, identities, D, NEIGHBORS)
    if settings.method == "overfit":
        classes = min(identities, settings.overfit_classes)
        trained = n * classes * settings.overfit_epochs * settings.overfit_rounds
        seconds += 3 * compared_seconds(trained, D, 1.0)
    blocks = BLOCKS * 4 * D * min(n, 65_536)
    memory = memory_with(BYTES_AN_IMAGE * n + min(4 * identities * D, IN_MEMORY) + blocks, torch_comes=True)
    return Estimate(
        f"{n:,} images of {identities:,} identities ({settings.method})",
        seconds,
        f" on the CPU, {of_memory(memory)}, {amount(10 * n + 4 * max(0, identities * D - IN_MEMORY // 4))} of disk",
    )


def _shape_beforehand(context: Context) -> tuple[int, int]:
    """How many embeddings there will be, of how many numbers."""
    from ...train.checkpoint_meta import read_meta

    images = context.manifest.identities_in(context.config.data.train_splits).count.sum()
    return int(images), read_meta(context.before.checkpoint).embedding_size


def _work(context: Context, stage: Stage, path: Path, settings: CleanConfig) -> dict[str, Any]:
    from ...mining.cleaning.identity_blocks import IdentityBlocks
    from ...mining.cleaning.suspects import PASSES, find_suspects

    rows = read_parquet(path, EMBEDDINGS, ["image_id", "identity_id"])
    image_id, identity_id = (rows[name].to_numpy() for name in ("image_id", "identity_id"))
    order = np.argsort(image_id, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        raise InputError(f"{path} is not sorted by image; remake it: `{stage.command} --force`")
    table = MeanTable(path, EMBEDDINGS, "embedding")
    blocks = IdentityBlocks(table, identity_id, clustering_device(context.options))
    with context.options.console.progress("clean", PASSES * len(image_id), "images") as progress:
        found = find_suspects(
            blocks,
            settings,
            means_ID=_room_for_means(len(blocks.identity_id), blocks.dimensions, stage.folder.path),
            subspace_id=_subspaces(context, blocks.identity_id),
            seed=context.config.seed,
            progress=progress.update,
        )
    write_parquet(
        stage.folder.file(files.SUSPECTS),
        SUSPECTS,
        table_of_suspects(found, blocks, image_id, context.manifest),
        stage.fingerprint,
    )
    keep, dropped = table_of_kept(found, blocks, image_id, settings)
    of = {MANIFEST_READ: context.manifest.fingerprint}
    write_parquet(stage.folder.file(files.KEEP), KEEP, keep, stage.fingerprint, of)
    return {
        "images": len(image_id),
        "identities": len(blocks.identity_id),
        "suspects": {reason: len(suspects.score) for reason, suspects in found.suspects.items()},
        "in_duplicates": identities_in_pairs(found.suspects["duplicate"]),
        "dropped": dropped,
        "shares": {name: round(share, 4) for name, share in found.shares.items()},
    }


def _room_for_means(identities: int, dimensions: int, folder: Path) -> np.ndarray:
    """Where the means are written to: in memory up to 2 GiB, else a map of an unnamed file in `folder`."""
    if 4 * identities * dimensions <= IN_MEMORY:
        return np.empty((identities, dimensions), np.float32)
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (lives as long as the map)
        take_room(file.fileno(), 4 * identities * dimensions)
        return np.memmap(file, np.float32, "w+", shape=(identities, dimensions))
    except OSError as error:
        raise unwritable(folder, error) from error


def _subspaces(context: Context, identity_id: np.ndarray) -> np.ndarray | None:
    """The subspace of each identity, as `_clustering` has it."""
    if len(identity_id) <= LARGEST_SEARCHED:
        return None
    from ..stages.round_tables import read_identities, read_subspaces

    known = read_identities(context.folder, ["identity_id"])["identity_id"].to_numpy()
    place = np.searchsorted(known, identity_id).clip(max=len(known) - 1)
    found = read_subspaces(context.folder)[place]
    return np.where(known[place] == identity_id, found, 0)


def _identities_left(keep: Path) -> int:
    rows = read_parquet(keep, KEEP, ["identity_id", "keep"])
    return len(np.unique(rows["identity_id"].to_numpy()[rows["keep"].to_numpy()]))


def _say_how_to_use(context: Context) -> None:
    keep = in_shell(context.folder.file(files.KEEP).resolve())
    context.say(
        f"look at them: subspace inspect {in_shell(context.folder.file(files.SUSPECTS))}; leave them out: "
        f"data.cleaned={keep}"
    )
    run = in_shell(context.run.path)
    if context.round_index == 0 and not context.folder.finished("extract"):
        context.say(f"next: subspace run {run} data.cleaned={keep}")
    else:
        more, network = (
            in_shell(f"{context.run.path}-cleaned"),
            in_shell(f"checkpoint:{context.before.checkpoint}"),
        )
        context.say(
            f"next: subspace init {more} --manifest {in_shell(context.manifest.path)} --model {network} "
            f"data.cleaned={keep}, or this run again with `subspace run {run} data.cleaned={keep} --force`"
        )

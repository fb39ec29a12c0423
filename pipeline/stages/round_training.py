"""The training of a round, put together: network, loss, optimiser, batches, labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ...mining.clustering.mean_table import MeanTable
from ...mining.errors import DamagedFileError, InputError
from ...mining.manifest import Manifest
from ...mining.parquet_tables import row_groups
from ...mining.randomness import derived_seed
from ...mining.schemas import MANIFEST
from ...train import distributed
from ...train.checkpoint_meta import CheckpointMeta, read_meta
from ...train.data.batches import DecodedBatches
from ...train.data.image_index import training_images
from ...train.data.images import ImageStore
from ...train.data.plan_reader import Plan
from ...train.losses.building import TrainingSet, build_loss
from ...train.networks.registry import refuse_training
from ...train.optimizers import build_optimizer
from ...train.running_means import RunningMeans, Staleness
from ..faults.missing_in_training import MissingInTraining
from ..monitoring.training_curves import identity_names
from ..network_identity import open_checkpoint
from .cluster import RECALL_AT, recall_seed
from .context import Context
from .graph import steps_taken
from .round_tables import read_identities, read_subspaces
from .stage import Stage
from .training import Training
from .training_estimate import TrainingWork, training_work


def round_work(context: Context, steps: int | None = None) -> TrainingWork:
    """What the first `steps` steps of the round take, or all of them."""
    refuse_training(read_meta(context.before.checkpoint).spec)
    plan, train, manifest = _plan(context), context.config.train, context.manifest
    bytes_of_means, labels = _running_means(context)
    first = next(
        row_groups(manifest.path, MANIFEST, manifest.columns)
    )  # memory is not to grow with the images
    return training_work(
        open_checkpoint(context.before.checkpoint, context.config),
        lambda: build_loss(train.loss, train.loss_args, _training_set(context)),
        train,
        train.optimizer,
        train.augment,
        context.options,
        steps=len(plan) if steps is None else steps,
        P=context.config.plan.P,
        images_per_batch=_images_per_batch(plan),
        store=ImageStore(Manifest(manifest.path, first, manifest.fingerprint), context.config.data.decoder),
        sample=np.arange(len(first)),
        folder=context.run.path,
        beside=(2.3 if context.config.recluster.stale_below is None else 3) * bytes_of_means + labels,
        saved_beside=bytes_of_means,
        places=lambda: _labels(context, plan, places=True)(0, np.unique(plan[0])),
    )


def _running_means(context: Context) -> tuple[float, float]:
    """Bytes of running means and of labels that are places; 0 where there are none.

    A training that goes on has them twice while it reads them and a mask beside them, a look at r@10 has three.
    """
    if not context.config.recluster.needs_running_means:
        return 0.0, 0.0
    means = MeanTable(context.folder.identities)
    return float(means.nbytes), 40.0 * len(means)


def _plan(context: Context) -> Plan:
    """The plan of the round, whose ids must be the manifest's.

    Raises:
        DamagedFileError: it has more or fewer batches than its marker says.
    """
    manifest, folder = context.manifest, context.folder
    plan = Plan(folder.plan, images=len(manifest), identities=manifest.identities)
    written = folder.record("plan")["summary"]["batches"] if folder.finished("plan") else len(plan)
    if len(plan) != written:
        raise DamagedFileError(
            f"{folder.plan} is damaged: {len(plan):,} batches, and it was written with {written:,}",
            str(folder.plan),
        )
    return plan


def _images_per_batch(plan: Plan) -> float:
    """How many images a batch has, repeats not counted: those of the first few, on average."""
    return float(np.mean([len(np.unique(plan[step])) for step in range(min(8, len(plan)))]))


def build_round_training(context: Context, stage: Stage) -> Training:
    """The training of a round on its plan; `Training.run` does it."""
    config, before = context.config, context.before.checkpoint
    network = open_checkpoint(before, config)
    refuse_training(network.spec)
    loss = build_loss(config.train.loss, config.train.loss_args, _training_set(context))
    plan = _plan(context)
    dataset = DecodedBatches(
        _images(context),
        plan.__getitem__,
        network.input,
        augment=config.train.augment,
        seed=(config.seed, context.round_index),
        keep_repeats=config.plan.singletons == "augment",
        process=(distributed.rank(), distributed.count()),
    )
    return Training(
        stage=stage,
        plan=plan,
        dataset=dataset,
        labels_of=_labels(
            context, plan, places=loss.labels_are_places or config.recluster.needs_running_means
        ),
        network=network,
        loss=loss,
        optimizer=build_optimizer([network, loss], config.train.optimizer),
        optimizer_config=config.train.optimizer,
        loader=config.train,
        meta=CheckpointMeta(
            network.spec,
            network.embedding_size,
            0,
            stage.fingerprint,
            parent=str(stage.fields["network"]),
            plan=plan.fingerprint,
            config=config.model_dump(mode="json"),
        ),
        first_step=steps_taken(context.run, context.round_index),
        total_steps=config.total_steps,
        seed=derived_seed(config.seed, "train"),
        patience=context.patience,
        missing=MissingInTraining(config.data, dataset.store, config.plan.K),
        begin_with=before if context.round_index > 0 else None,
        collapse=config.train.collapse,
        staleness=_staleness(context) if distributed.rank() == 0 else None,
        names_of=partial(identity_names, context.manifest),
    )


def _staleness(context: Context) -> Staleness | None:
    config, folder = context.config, context.folder
    if not config.recluster.needs_running_means:
        return None
    spread = read_identities(folder, ["spread"])["spread"].to_numpy()
    made = folder.record("cluster")["summary"]
    return Staleness(
        RunningMeans.beginning(_means(context), torch.from_numpy(spread.copy()), config.recluster.momentum),
        read_subspaces(context.folder),
        config.recluster,
        recall_then=made[f"recall@{RECALL_AT}"],
        k=RECALL_AT,
        queries=made["recall_queries"],
        seed=recall_seed(config, context.round_index),
    )


def _images(context: Context) -> ImageStore:
    """The images for training; process 0 makes their index where there is none, and the others wait."""
    problem = None
    if distributed.rank() == 0:
        try:
            training_images(context.manifest, context.run.image_index, context.config.data.decoder)
        except InputError as error:
            problem = str(error)
    distributed.refuse_if_any(problem)
    return training_images(context.manifest, context.run.image_index, context.config.data.decoder)


def _labels(context: Context, plan: Plan, *, places: bool) -> Callable[[int, np.ndarray], np.ndarray]:
    """Identity ids as the plan says them, or their `places` in the identities table: 4 bytes an identity."""
    if not places:
        return plan.identities_of
    known = read_identities(context.folder, ["identity_id"])["identity_id"].to_numpy()
    return lambda step, image_id: np.searchsorted(known, plan.identities_of(step, image_id))


def _training_set(context: Context) -> TrainingSet:
    """What a loss may ask; nothing of any identity is read before it does."""
    return TrainingSet(
        *MeanTable(context.folder.identities).shape,
        means=lambda: _means(context),
        subspace_of=lambda: torch.from_numpy(read_subspaces(context.folder).astype(np.int64)),
        seed=derived_seed(context.config.seed, "loss"),
    )


def _means(context: Context) -> torch.Tensor:
    means = MeanTable(context.folder.identities)[:]
    return torch.from_numpy(np.require(means, requirements="W"))  # those of one row group are Arrow's

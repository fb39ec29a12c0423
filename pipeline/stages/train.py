"""`subspace train`: one round of training on its plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...mining.artifacts import read_json
from ...mining.clustering.mean_table import MeanTable
from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.randomness import derived_seed
from ...train import distributed
from ...train.checkpoint import load_network
from ...train.checkpoint_meta import CheckpointMeta
from ...train.data.batches import DecodedBatches, Plan
from ...train.data.image_index import training_images
from ...train.data.images import ImageStore
from ...train.losses.building import TrainingSet, build_loss, labels_are_places
from ...train.optimizers import build_optimizer
from ...train.running_means import RunningMeans, Staleness
from ..config import RunConfig
from ..run_directory import RunDirectory
from .cluster import RECALL_AT, recall_seed
from .plan import plan_stage
from .round_tables import read_identities, read_subspaces
from .stage import Options, Stage, done_fingerprint, flat_fields, network_fingerprint, steps_taken
from .training import OUTPUTS, UNIMPORTANT, Training
from .training_estimate import training_estimate
from .training_processes import run_stage_together, train_together


def train_stage(run: RunDirectory, config: RunConfig, manifest_fingerprint: str, round_index: int) -> Stage:
    """The stage, for this configuration, the plan of the round and the network that it begins with."""
    folder = run.round(round_index)
    fields: dict[str, Any] = {
        "network": network_fingerprint(run, round_index),
        "plan": done_fingerprint(folder, "plan", f"subspace plan {run.path} --round {round_index}"),
        "manifest": manifest_fingerprint,
        "seed": config.seed,
        "round": round_index,
        "plan.steps": config.plan.steps,
        **flat_fields("recluster", config.recluster.model_dump()),
        "plan.singletons": config.plan.singletons,
        **flat_fields("train", config.train.model_dump(), without=(*UNIMPORTANT, "collapse")),
    }
    if config.train.optimizer.schedule != "constant":
        # The schedule spans all rounds, so their number is part of every round's result.
        fields["rounds"] = config.rounds
    return Stage("train", folder, fields, OUTPUTS, f"subspace train {run.path} --round {round_index}")


def train(
    run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options, *, round_index: int
) -> dict[str, Any]:
    """Train on the plan of a round and write its checkpoint; optimiser state comes from the round before."""
    stage = train_stage(run, config, manifest.fingerprint, round_index)
    if options.processes > 1:
        return train_together(stage, ["train", str(run.path), "--round", str(round_index)], options)
    if not plan_stage(run, config, manifest.fingerprint, round_index).is_done():
        raise InputError(f"{stage.folder} has no plan yet; run `subspace plan {run.path}` first")

    before = run.network(round_index) / "checkpoint"

    def estimate() -> str:
        plan, network = Plan(stage.folder / "plan"), load_network(f"checkpoint:{before}")
        return training_estimate(network, config.train, len(plan), len(plan[0]), options)

    def work() -> dict[str, Any]:
        network = load_network(f"checkpoint:{before}")
        loss = build_loss(config.train.loss, config.train.loss_args, _training_set(run, config, round_index))
        optimizer = build_optimizer([network, loss], config.train.optimizer)
        plan = Plan(stage.folder / "plan")
        training = Training(
            stage=stage,
            plan=plan,
            dataset=DecodedBatches(
                _images(run, manifest),
                plan.__getitem__,
                network.input.size,
                augment=config.train.augment,
                seed=(config.seed, round_index),
                keep_repeats=config.plan.singletons == "augment",
                process=(distributed.rank(), distributed.count()),
            ),
            labels_of=_labels(
                run,
                round_index,
                plan,
                places=labels_are_places(loss) or config.recluster.needs_running_means,
            ),
            network=network,
            loss=loss,
            optimizer=optimizer,
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
            first_step=steps_taken(run, round_index),
            total_steps=config.total_steps,
            seed=derived_seed(config.seed, "train"),
            fail_on_bad_image=config.data.on_bad_image == "fail",
            begin_with=before if round_index > 0 else None,
            collapse=config.train.collapse,
            staleness=_staleness(run, config, round_index) if distributed.rank() == 0 else None,
        )
        return training.run(options)

    return run_stage_together(stage, options, estimate, work)


def _staleness(run: RunDirectory, config: RunConfig, round_index: int) -> Staleness | None:
    if not config.recluster.needs_running_means:
        return None
    spread = read_identities(run, round_index, ["spread"])["spread"].to_numpy()
    made = read_json(run.round(round_index) / "done" / "cluster.json")["summary"]
    return Staleness(
        RunningMeans.beginning(
            _means(run, round_index), torch.from_numpy(spread.copy()), config.recluster.momentum
        ),
        read_subspaces(run, round_index),
        config.recluster,
        recall_then=made[f"recall@{RECALL_AT}"],
        k=RECALL_AT,
        queries=made["recall_queries"],
        seed=recall_seed(config, round_index),
    )


def _images(run: RunDirectory, manifest: Manifest) -> ImageStore:
    """The images for training; process 0 makes their index where there is none, and the others wait."""
    problem = None
    if distributed.rank() == 0:
        try:
            training_images(manifest, run.image_index)
        except InputError as error:
            problem = str(error)
    distributed.refuse_if_any(problem)
    return training_images(manifest, run.image_index)


def _labels(
    run: RunDirectory, round_index: int, plan: Plan, *, places: bool
) -> Callable[[int, np.ndarray], np.ndarray]:
    """Identity ids as the plan says them, or their `places` in the identities table: 4 bytes an identity."""
    if not places:
        return plan.identities_of
    known = read_identities(run, round_index, ["identity_id"])["identity_id"].to_numpy()
    return lambda step, image_id: np.searchsorted(known, plan.identities_of(step, image_id))


def _training_set(run: RunDirectory, config: RunConfig, round_index: int) -> TrainingSet:
    """What a loss may ask; nothing of any identity is read before it does."""
    return TrainingSet(
        *MeanTable(run.round(round_index) / "identities.parquet").shape,
        means=lambda: _means(run, round_index),
        subspace_of=lambda: torch.from_numpy(read_subspaces(run, round_index).astype(np.int64)),
        seed=derived_seed(config.seed, "loss"),
    )


def _means(run: RunDirectory, round_index: int) -> torch.Tensor:
    return torch.from_numpy(MeanTable(run.round(round_index) / "identities.parquet")[:].copy())

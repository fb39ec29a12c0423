"""`subspace pretrain`: the starting network, by classifying the pretrain identities, or taken as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...mining.artifacts import fingerprint_of, read_json
from ...mining.errors import InputError
from ...mining.manifest import IdentityImages, Manifest
from ...mining.planning.batch_plan import plan_batches
from ...mining.planning.plan_table import write_plan
from ...mining.planning.settings import PlanConfig
from ...mining.randomness import derived_seed, generator
from ...train import distributed
from ...train.checkpoint import load_network, save_checkpoint
from ...train.checkpoint_meta import SPEC_PREFIX, CheckpointMeta, read_meta
from ...train.data.batches import DecodedBatches, Plan
from ...train.data.images import ImageStore
from ...train.losses.building import NewClasses
from ...train.losses.pretraining import build_pretraining_loss
from ...train.optimizers import build_optimizer
from ..config import RunConfig
from ..run_directory import RunDirectory
from .plan import shown
from .stage import Options, Stage, flat_fields
from .training import OUTPUTS, UNIMPORTANT, Training
from .training_estimate import training_estimate
from .training_processes import run_stage_together, train_together


def pretrain_stage(run: RunDirectory, config: RunConfig, manifest_fingerprint: str) -> Stage:
    """The stage. With `pretrain.steps=0` it depends on nothing but the network."""
    fields: dict[str, Any] = {
        "model": _network_identity(config.model, run),
        "embedding_size": config.embedding_size,
        "seed": config.seed,
        "pretrain.steps": config.pretrain.steps,
    }
    if config.pretrain.steps:
        fields |= {
            "manifest": manifest_fingerprint,
            "data.pretrain_splits": list(config.data.pretrain_splits),
            **flat_fields("pretrain", config.pretrain.model_dump(), without=UNIMPORTANT),
        }
    return Stage("pretrain", run.start, fields, (*OUTPUTS, "plan"), f"subspace pretrain {run.path}")


def _network_identity(spec: str, run: RunDirectory) -> str:
    """`checkpoint:DIR` as the fingerprint of that checkpoint, so that a moved folder is the same network.

    A folder that is gone after it has served is what it was.
    """
    if not spec.startswith(SPEC_PREFIX):
        return spec
    folder, marker = Path(spec.removeprefix(SPEC_PREFIX)), run.start / "done" / "pretrain.json"
    if marker.exists() and not folder.exists():
        return str(read_json(marker)["fields"]["model"])
    return f"{SPEC_PREFIX}{read_meta(folder).fingerprint}"


def pretrain_identities(config: RunConfig, manifest: Manifest) -> IdentityImages:
    """The identities that pretraining classifies, with their images.

    Of those in `data.pretrain_splits` with `pretrain.min_images` or more, `pretrain.identities` are drawn at random
    and not by their number of images: those with most are famous people and shop bestsellers, not a sample of all. A
    draw of fewer, with the same seed, is part of a draw of more.

    Raises:
        InputError: fewer than two.
    """
    wanted, splits = config.pretrain, ",".join(config.data.pretrain_splits)
    images = manifest.identities_in(config.data.pretrain_splits)
    enough = images.count >= wanted.min_images
    if enough.sum() < 2:
        least = f" with pretrain.min_images={wanted.min_images} or more" if wanted.min_images > 1 else ""
        raise InputError(
            f"{int(enough.sum())} identities{least} in data.pretrain_splits={splits} (the manifest "
            f"has {', '.join(manifest.splits)}); choose others, or pretrain.steps=0"
        )
    order = generator(config.seed, "pretrain identities").permutation(np.flatnonzero(enough))
    chosen = np.zeros(len(images), bool)
    chosen[order[: wanted.identities]] = True
    return images.where(chosen)


def pretrain(run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options) -> dict[str, Any]:
    """Make the network that round 0 begins with: `RUN/start/checkpoint`."""
    stage = pretrain_stage(run, config, manifest.fingerprint)
    steps, K = config.pretrain.steps, config.pretrain.K
    if options.processes > 1 and steps:
        return train_together(stage, ["pretrain", str(run.path)], options)

    def estimate() -> str:
        if steps == 0:
            return f"the starting network is {config.model}, as it is"
        splits, network = (
            " and ".join(config.data.pretrain_splits),
            load_network(config.model, embedding_size=config.embedding_size),
        )
        return f"{config.pretrain.loss} on {splits}, {training_estimate(network, config.pretrain, steps, config.pretrain.P * K, options)}"

    def work() -> dict[str, Any]:
        network = load_network(
            config.model, embedding_size=config.embedding_size, seed=derived_seed(config.seed, "network")
        )
        meta = CheckpointMeta(
            network.spec,
            network.embedding_size,
            0,
            stage.fingerprint,
            parent=str(stage.fields["model"]),
            config=config.model_dump(mode="json"),
        )
        if steps == 0:
            save_checkpoint(stage.folder / "checkpoint", network, meta)
            return {"steps": 0}
        images = pretrain_identities(config, manifest)
        plan_config = PlanConfig(strategy="subspace", steps=steps, P=min(config.pretrain.P, len(images)), K=K)
        fingerprint = fingerprint_of({"plan of": stage.fingerprint})
        folder = stage.folder / "plan"
        if distributed.rank() == 0 and (not folder.exists() or Plan(folder).fingerprint != fingerprint):
            blocks = plan_batches(
                images,
                np.zeros(len(images), np.int32),
                plan_config,
                seed=derived_seed(config.seed, "pretrain"),
            )
            write_plan(folder, shown(blocks, steps, options.console), images, fingerprint)
        distributed.agree(True)  # the others wait for the plan
        plan = Plan(folder)
        options.console.say(
            f"start/pretrain: {config.pretrain.loss} over {len(images):,} identities, {len(images.image_id):,} images"
        )
        loss = build_pretraining_loss(
            config.pretrain.loss,
            config.pretrain.loss_args,
            NewClasses(len(images), network.embedding_size, derived_seed(config.seed, "softmax")),
        )
        identity_id = manifest.identity_id
        training = Training(
            stage=stage,
            plan=plan,
            dataset=DecodedBatches(
                ImageStore(manifest),
                plan.__getitem__,
                network.input.size,
                process=(distributed.rank(), distributed.count()),
                augment=config.pretrain.augment,
                seed=(derived_seed(config.seed, "pretrain", "augment"),),
            ),
            labels_of=lambda step, image_id: np.searchsorted(images.identity_id, identity_id[image_id]),
            network=network,
            loss=loss,
            optimizer=build_optimizer([network, loss], config.pretrain.optimizer),
            optimizer_config=config.pretrain.optimizer,
            loader=config.pretrain,
            meta=meta,
            first_step=0,
            total_steps=steps,
            seed=derived_seed(config.seed, "pretrain", "steps"),
            fail_on_bad_image=config.data.on_bad_image == "fail",
        )
        return training.run(options)

    return run_stage_together(stage, options, estimate, work)

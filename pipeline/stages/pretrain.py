"""`subspace pretrain`: the starting network, by classifying the pretrain identities, or taken as it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...mining.errors import InputError
from ...mining.fingerprints import fingerprint_of
from ...mining.manifest import IdentityImages, Manifest
from ...mining.randomness import derived_seed, generator
from ...train.checkpoint_meta import CheckpointMeta
from ...train.loss_search.curve import curve_fields
from ...train.losses.registry import fingerprint_arguments
from ...train.training_config import UNIMPORTANT
from ..configuration.config import RunConfig
from ..network_identity import network_fields, network_files, refuse_frozen
from .context import Context
from .graph import row
from .stage import Stage, flat_fields

if TYPE_CHECKING:
    from ...train.data.plan_reader import Plan
    from ...train.networks.backbone import Backbone
    from ..estimates.estimate import Estimate
    from .training import Training


def pretrain_fields(context: Context) -> dict[str, Any]:
    """What the starting network depends on. With `pretrain.steps=0` that is nothing but the network."""
    config = context.config
    fields: dict[str, Any] = {
        **network_fields(config, context.run),
        "embedding_size": config.embedding_size,
        "seed": config.seed,
        "pretrain.steps": config.pretrain.steps,
        **flat_fields("preprocess", config.preprocess.given),
    }
    if config.pretrain.steps:
        fields |= {
            "manifest": context.manifest.fingerprint,
            "data.pretrain_splits": list(config.data.pretrain_splits),
            **flat_fields(
                "pretrain",
                config.pretrain.model_dump()
                | {
                    "loss_args": fingerprint_arguments(config.pretrain.loss_args),
                    "augment": config.pretrain.augment.fingerprint_fields(),
                },
                without=UNIMPORTANT,
            ),
            **curve_fields("pretrain", config.pretrain.loss),
        }
    return fields


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


def pretrain_network(context: Context) -> dict[str, Any]:
    """Make the network that round 0 begins with: `RUN/start/checkpoint`."""
    from .training_processes import run_stage_together, train_together

    context = context.at_round(-1)
    stage, options = row("pretrain").stage(context), context.options
    if options.processes > 1 and context.config.pretrain.steps:
        return train_together(stage, ["pretrain", str(context.run.path)], options)
    return run_stage_together(
        stage, options, lambda: cost_of_pretraining(context), lambda: _work(context, stage)
    )


def cost_of_pretraining(context: Context) -> str | Estimate:
    """What pretraining takes, from a few steps that are timed here; words alone where the network is taken as it is."""
    from ...train.checkpoint import load_network
    from ...train.data.images import ImageStore
    from ...train.losses.building import NewClasses, build_pretraining_loss
    from .training_estimate import training_work

    config, pretrain = context.config, context.config.pretrain
    if pretrain.steps == 0:
        origin = f"with the weights of {config.weights}" if config.weights else "as it is"
        return f"the starting network is {config.model}, {origin}"
    refuse_frozen(config.model)
    network = load_network(
        config.model,
        embedding_size=config.embedding_size,
        preprocess=config.preprocess,
        weights=config.weights,
        allow_code=config.allow_code,
    )
    images = pretrain_identities(config, context.manifest)
    some = images.rows(slice(0, 1000)).at_most(pretrain.K, generator(config.seed, "pretrain estimate"))
    P, classes = min(pretrain.P, len(images)), NewClasses(len(images), network.embedding_size, 0)
    takes = training_work(
        network,
        lambda: build_pretraining_loss(pretrain.loss, pretrain.loss_args, classes),
        pretrain,
        pretrain.optimizer,
        pretrain.augment,
        context.options,
        steps=pretrain.steps,
        P=P,
        images_per_batch=P * len(some.image_id) / len(some),
        store=ImageStore(context.manifest, config.data.decoder),
        sample=some.image_id,
        folder=context.run.path,
    )
    return takes.estimate(f"{pretrain.loss} on {' and '.join(config.data.pretrain_splits)}, ")


def _work(context: Context, stage: Stage) -> dict[str, Any]:
    from ...train.checkpoint import load_network, save_checkpoint
    from ...train.networks.backbone import check_embedding

    config = context.config
    network = load_network(
        config.model,
        embedding_size=config.embedding_size,
        seed=derived_seed(config.seed, "network"),
        preprocess=config.preprocess,
        weights=config.weights,
        allow_code=config.allow_code,
    )
    check_embedding(network)
    for remark in network.remarks:
        context.say(f"{stage.label}: {remark}")
    meta = CheckpointMeta(
        network.spec,
        network.embedding_size,
        0,
        stage.fingerprint,
        parent=str(stage.fields["model"]),
        config=config.model_dump(mode="json"),
    )
    if config.pretrain.steps == 0:
        save_checkpoint(stage.folder.checkpoint, network, meta)
        return {"steps": 0, **network_files(config)}
    return {**_training(context, stage, network, meta).run(context.options), **network_files(config)}


def _training(context: Context, stage: Stage, network: Backbone, meta: CheckpointMeta) -> Training:
    from ...train import distributed
    from ...train.data.batches import DecodedBatches
    from ...train.data.images import ImageStore
    from ...train.losses.building import NewClasses, build_pretraining_loss
    from ...train.optimizers import build_optimizer
    from ..faults.missing_in_training import MissingInTraining
    from ..monitoring.training_curves import identity_names
    from .training import Training

    config, pretrain = context.config, context.config.pretrain
    images = pretrain_identities(config, context.manifest)
    plan = _plan(context, stage, images)
    context.say(
        f"{stage.label}: {pretrain.loss} over {len(images):,} identities, {len(images.image_id):,} images"
    )
    loss = build_pretraining_loss(
        pretrain.loss,
        pretrain.loss_args,
        NewClasses(len(images), network.embedding_size, derived_seed(config.seed, "softmax")),
    )
    identity_id = context.manifest.identity_id
    dataset = DecodedBatches(
        ImageStore(context.manifest, config.data.decoder),
        plan.__getitem__,
        network.input,
        process=(distributed.rank(), distributed.count()),
        augment=pretrain.augment,
        seed=(derived_seed(config.seed, "pretrain", "augment"),),
    )
    return Training(
        stage=stage,
        plan=plan,
        dataset=dataset,
        labels_of=lambda step, image_id: np.searchsorted(images.identity_id, identity_id[image_id]),
        network=network,
        loss=loss,
        optimizer=build_optimizer([network, loss], pretrain.optimizer),
        optimizer_config=pretrain.optimizer,
        loader=pretrain,
        meta=meta,
        first_step=0,
        total_steps=pretrain.steps,
        collapse=config.train.collapse.only_said,
        seed=derived_seed(config.seed, "pretrain", "steps"),
        patience=context.patience,
        missing=MissingInTraining(config.data, dataset.store, pretrain.K),
        names_of=partial(identity_names, context.manifest),
    )


def _plan(context: Context, stage: Stage, images: IdentityImages) -> Plan:
    """Random batches over the pretrain identities; process 0 writes them, and the others wait."""
    from ...mining.planning.batch_plan import plan_batches
    from ...mining.planning.plan_table import write_plan
    from ...mining.planning.settings import PlanConfig
    from ...train import distributed
    from ...train.data.plan_reader import Plan
    from .plan import refuse_unpaired, with_bar

    config, pretrain = context.config, context.config.pretrain
    settings = PlanConfig(
        strategy="subspace", steps=pretrain.steps, P=min(pretrain.P, len(images)), K=pretrain.K
    )
    refuse_unpaired("pretrain", "pretrain.loss", pretrain.loss, images.count, settings)
    fingerprint = fingerprint_of({"plan of": stage.fingerprint})
    folder = stage.folder.plan
    if distributed.rank() == 0 and (not folder.exists() or Plan(folder).fingerprint != fingerprint):
        everybody = np.zeros(len(images), np.int32)
        blocks = plan_batches(images, everybody, settings, seed=derived_seed(config.seed, "pretrain"))
        write_plan(folder, with_bar(blocks, pretrain.steps, context.options.console), images, fingerprint)
    distributed.agree(True)  # the others wait for the plan
    return Plan(folder)

"""What trials will take, from a few steps that are timed here; and what they took."""

from __future__ import annotations

from collections.abc import Sequence

from ...mining.clustering.product_speed import LOOKS_OF_METRICS, compared_seconds
from ...train.data.images import ImageStore
from ...train.data.plan_reader import Plan
from ...train.devices import pick_device
from ...train.speed import embedding_work
from ..console import about, counted, duration
from ..network_identity import open_checkpoint
from ..stages.context import Context
from ..stages.held_out import HeldOut
from ..stages.round_training import round_work
from .trials import Trial


def estimate_trials(context: Context, trials: int, steps: int, *, start: bool) -> str:
    """Trials, steps, images and time, in a line.

    Args:
        start: whether the starting network is still to be examined, too.
    """
    work = round_work(context, steps)
    examining = examining_seconds(context)
    seconds = trials * (work.loaded.seconds + examining) + start * examining
    return (
        f"{counted(trials, 'trial')} of {counted(steps, 'step')}: {trials * steps:,} steps, about "
        f"{trials * steps * work.images_per_batch:,.0f} images, {about(seconds)}{work.loaded.slow_decoding}, each examined on "
        f"the validation identities ({about(examining)})"
    )


def cost_in_words(trials: Sequence[Trial]) -> str:
    """What trials took."""
    steps, images, seconds = (
        sum(getattr(trial, name) for trial in trials) for name in ("steps", "images", "seconds")
    )
    return f"{counted(len(trials), 'trial')}, {steps:,} steps, {images:,} images, {duration(seconds)}"


def examining_seconds(context: Context) -> float:
    """Seconds of one validation: its images embedded, and all pairs compared."""
    extract = context.config.extract
    network = open_checkpoint(context.before.checkpoint, context.config)
    examined = HeldOut.validation(context.config).choose_examined(context.manifest)
    images = examined.images
    embedding = embedding_work(
        network,
        ImageStore(context.manifest, context.config.data.decoder),
        images,
        len(images),
        pick_device(context.options.device),
        extract.precision,
        batch_size=extract.batch_size,
        num_workers=extract.num_workers,
    )
    return embedding.seconds + compared_seconds(
        examined.comparisons, network.embedding_size, LOOKS_OF_METRICS
    )


def steps_by_default(context: Context, plan: Plan) -> int:
    """A twentieth of the run's steps, 100 to 500, and at most what the plan has; whole steps of the optimiser."""
    steps = min(len(plan), max(100, min(500, context.config.total_steps // 20)))
    accumulate = context.config.train.accumulate
    return max(accumulate, steps // accumulate * accumulate)

"""What trials will take, from a few steps that are timed here; and what they took."""

from __future__ import annotations

from collections.abc import Sequence

from ...train.data.plan_reader import Plan
from ..console import about, counted, duration
from ..faults.memory_advice import shortages_in_words
from ..network_identity import open_checkpoint
from ..stages.context import Context
from ..stages.examination import cost_of_examination
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
    seconds = trials * (work.loaded.seconds + examining) + start * examining  # trials save no states
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
    network = open_checkpoint(context.before.checkpoint, context.config)
    held = HeldOut.validation(context.config)
    with shortages_in_words("validate", context.config):
        return cost_of_examination(network, context.config, context.manifest, context.options, held).seconds


def steps_by_default(context: Context, plan: Plan) -> int:
    """A twentieth of the run's steps, 100 to 500, and at most what the plan has; whole steps of the optimiser."""
    steps = min(len(plan), max(100, min(500, context.config.total_steps // 20)))
    accumulate = context.config.train.accumulate
    return max(accumulate, steps // accumulate * accumulate)

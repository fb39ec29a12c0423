"""One trial: the run's own training on the first batches of its plan, at one rate, judged on the validation identities."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

from ...mining.errors import InputError
from ...mining.evaluation.mated_probes import FAULTS
from ...train.collapse import CollapseGuard
from ...train.devices import numbers_of
from ...train.losses.unit_length import NOT_FINITE
from ...train.monitoring.phase_clock import Phases
from ...train.networks.backbone import Backbone
from ...train.optimizer_config import OptimizerConfig
from ...train.training_config import CollapseConfig, ReclusterConfig
from ..faults.memory_advice import shortages_in_words
from ..stages.context import Context
from ..stages.examination import examine
from ..stages.graph import row
from ..stages.held_out import HeldOut
from ..stages.round_training import build_round_training
from ..stages.training import Training
from ..stages.training_processes import training_device
from .trials import State, Trial

POINTS = 40
"""How many a loss curve has, about."""


def shortened(optimizer: OptimizerConfig, steps: int, of: int) -> OptimizerConfig:
    """The optimiser of a trial of `steps` steps in place of a run of `of`: warm-up and unfreezing take their share of it.

    The decay needs no change: it is a function of the share that is done, and a trial spans it all.

    >>> shortened(OptimizerConfig(warmup_steps=100), steps=200, of=2000).warmup_steps
    10
    """
    share, unfreeze = min(1.0, steps / of), optimizer.unfreeze
    head = unfreeze.head_steps if unfreeze.head_steps == "all" else round(unfreeze.head_steps * share)
    blocks = max(1, round(unfreeze.block_steps * share)) if unfreeze.block_steps else 0
    return optimizer.model_copy(
        update={
            "warmup_steps": round(optimizer.warmup_steps * share),
            "unfreeze": unfreeze.model_copy(update={"head_steps": head, "block_steps": blocks}),
        }
    )


def try_rate(context: Context, rate: float, steps: int) -> Trial:
    """Train `steps` steps at a peak rate from the round's start, and examine what comes of it.

    A function of run, rate and steps: on a CPU the same numbers each time.

    Raises:
        InputError: an image that cannot be read, where the settings say fail.
        StoppedEarly: too many cannot be read; of this trial nothing is kept.
    """
    began = time.monotonic()
    config = context.config
    optimizer = config.train.optimizer.model_copy(update={"lr": rate})
    optimizer = shortened(optimizer, steps, config.total_steps)
    of_trial = config.model_copy(
        update={
            "rounds": 1,  # of so many steps: the schedule spans them
            "plan": config.plan.model_copy(update={"steps": steps}),
            "train": config.train.model_copy(update={"optimizer": optimizer}),
            "recluster": ReclusterConfig(refresh="extract"),  # running means move no weights
        }
    )
    training = build_round_training(replace(context, config=of_trial), row("train").stage(context))
    ended = train_watched(training, context, range(steps), f"lr {rate:g}")
    metrics = examine_trained(context, training, ended)
    return Trial(
        rate,
        ended.state,
        ended.steps,
        ended.images,
        round(time.monotonic() - began, 3),
        training.device.type,
        metrics,
        ended.losses,
    )


def examine_on_validation(context: Context, network: Backbone) -> dict[str, Any]:
    """The metrics of a network on the validation identities, with their intervals."""
    held = HeldOut.validation(context.config)
    with shortages_in_words("validate", context.config):
        return examine(network, context.config, context.manifest, context.options, held)["metrics"]


def examine_trained(context: Context, training: Training, ended: Ended) -> dict[str, Any]:
    """The metrics of what a short training came to; {} where it failed.

    A network that makes no unit vectors has `diverged`, too.

    Raises:
        InputError: an image that cannot be read, where the settings say fail.
    """
    if ended.state != "done":
        return {}
    network = training.network if training.state.ema is None else training.state.ema.module
    assert isinstance(network, Backbone)
    try:
        return examine_on_validation(context, network)
    except InputError as error:
        if not any(fault in str(error) for fault in FAULTS):
            raise
        ended.state = "diverged"
        return {}


@dataclass
class Ended:
    """How a short training ended."""

    state: State
    steps: int
    images: int
    losses: list[list[float]]


def train_watched(training: Training, context: Context, steps: range, what: str) -> Ended:
    """Train on these batches of the plan; a loss or weights that are not finite end it, and so does a collapse.

    Args:
        what: it is, before the progress bar.
    """
    device = training_device(context.options.device)
    training.network.to(device)
    training.loss.to(device)
    watched = training.collapse is not None and training.collapse.action != "off"
    window = min(context.config.train.collapse.window, max(1, len(steps) // 2))
    guard = CollapseGuard(training.loss, CollapseConfig(action="warn" if watched else "off", window=window))
    ended, losses, every = Ended("done", 0, 0, []), [], max(1, len(steps) // POINTS)
    with context.options.console.progress(what, len(steps), "steps") as progress:
        try:
            batches, phases = training.batches(steps, device), Phases(device)
            for record in training.records(batches, device, phases, training.missing.look):
                ended.steps, ended.images = record.step + 1 - steps.start, ended.images + record.images
                losses += [record.loss] if record.loss is not None else []
                if guard.add(ended.steps, record.loss, record.distance):
                    ended.state = "collapsed"
                if losses and (
                    ended.steps % every == 0 or ended.steps == len(steps) or ended.state != "done"
                ):
                    numbers = numbers_of(losses)
                    ended.losses.append([ended.steps, sum(numbers) / len(numbers)])
                    losses = []
                    if record.divergence() is not None:
                        ended.state = "diverged"
                progress.update(1, f"loss {ended.losses[-1][1]:.3f}" if ended.losses else "")
                if ended.state != "done":
                    break
        except InputError as error:
            if NOT_FINITE not in str(error):
                raise
            ended.state = "diverged"
    if not _is_finite(training.network):
        ended.state = "diverged"
    ended.losses = [point for point in ended.losses if math.isfinite(point[1])]  # JSON knows no NaN
    return ended


def _is_finite(network: Backbone) -> bool:
    """Whether all weights and buffers are numbers."""
    return all(
        bool(tensor.isfinite().all())
        for tensor in network.state_dict().values()
        if tensor.is_floating_point()
    )

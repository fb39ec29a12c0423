"""`subspace train`: one round of training on its plan. `round_training.py` does it."""

from __future__ import annotations

from typing import Any

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...train.loss_search.curve import curve_fields
from ...train.losses.building import pair_losses_of
from ...train.losses.registry import fingerprint_arguments
from ...train.training_config import UNIMPORTANT
from .context import Context
from .graph import row
from .stage import flat_fields


def train_fields(context: Context) -> dict[str, Any]:
    """What the trained network depends on, besides the plan and the network that it begins with."""
    config = context.config
    fields: dict[str, Any] = {
        "seed": config.seed,
        "round": context.round_index,
        "plan.steps": config.plan.steps,
        **flat_fields("recluster", config.recluster.model_dump()),
        "plan.singletons": config.plan.singletons,
        **flat_fields(
            "train",
            config.train.model_dump()
            | {
                "loss_args": fingerprint_arguments(config.train.loss_args),
                "augment": config.train.augment.fingerprint_fields(),
            },
            without=(*UNIMPORTANT, "collapse"),
        ),
        **curve_fields("train", config.train.loss),
    }
    if config.train.optimizer.schedule != "constant":
        # The schedule spans all rounds, so their number is part of every round's result.
        fields["rounds"] = config.rounds
    return fields


def train_round(context: Context) -> dict[str, Any]:
    """Train on the plan of a round and write its checkpoint; optimiser state comes from the round before.

    Raises:
        InputError: the round has no plan yet.
    """
    from .training_processes import run_stage_together, train_together

    stage, options = row("train").stage(context), context.options
    if not row("plan").stage(context).is_done():
        raise InputError(
            f"{stage.folder} has no plan yet; run `subspace plan {in_shell(context.run.path)}` first"
        )
    loss, summary = context.config.train.loss, stage.folder.record("plan")["summary"]
    if summary.get("paired_batches") == 0 and pair_losses_of(loss):
        raise InputError(
            f"no batch of {stage.folder.plan} holds two images of an identity, and train.loss={loss} learns from such alone; "
            f"plan again with `subspace plan {in_shell(context.run.path)} --force`"
        )
    if options.processes > 1:
        arguments = ["train", str(context.run.path), "--round", str(context.round_index)]
        return train_together(stage, arguments, options)
    from .round_training import build_round_training, round_work

    return run_stage_together(
        stage,
        options,
        lambda: round_work(context).estimate(),
        lambda: build_round_training(context, stage).run(options),
    )

"""Whether a round is due: a scheduler starts the jobs of rounds that a run may not need any more."""

from __future__ import annotations

from .best import Standing
from .stages.context import Context
from .stages.graph import steps_taken


def over_before(context: Context) -> str | None:
    """Why the run is over before the round of `context`, in words; None where the round is due.

    By what the rounds before it have done: all steps, or validations without a gain (`early_stop`).
    """
    run, config, round_index = context.run, context.config, context.round_index
    taken = steps_taken(run, round_index)
    if taken >= config.total_steps:
        return f"all {taken:,} steps are done before round {round_index}"
    before = [run.network(index) for index in range(round_index + 1)]
    if config.early_stop.patience is None or not all(folder.validation.exists() for folder in before):
        return None
    values = list(Standing.read(before, config.early_stop).value.values())
    if config.early_stop.stops_after(values):
        return f"the run stopped early before round {round_index} (early_stop.patience)"
    return None

"""`subspace lr`: what it needs, its trials one by one, the winner, the figures and the plot.

All trials begin with the weights of the starting network and train on the first batches of round 0. Each finished trial is on
disk at once, so a killed search makes only what is missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...mining.artifacts import write_text
from ...mining.errors import InputError
from ...mining.fingerprints import CODE_VERSION
from ...mining.local_paths import in_shell
from ...train.training_config import check_whole_updates
from ..best import metric_is_known
from ..configuration.overrides import keep_overrides, one_by_one
from ..console import counted
from ..network_identity import open_checkpoint
from ..rounds import check_identities
from ..stages.context import Context
from ..stages.evaluate import validate_fields
from ..stages.graph import row, rows_of
from ..stages.held_out import HeldOut
from ..stages.stage import flat_fields
from .families import SEARCHED_RATES, family_of
from .rates import CENTRES, first_rates, next_rate
from .trials import Figures, Trial, Trials
from .verdict import Verdict, figure_in_words, judge, trial_in_words

SETTING = "train.optimizer.lr"
FEWEST_STEPS = 2
LIKELY_MORE = 2
"""Trials after the coarse row: one on either side of the best."""


@dataclass(frozen=True)
class Found:
    """What a search found, and where it lies."""

    verdict: Verdict
    trials: Path
    plot: Path
    new: list[Trial]
    """What this command made of them."""
    steps: int
    """How many each trial took."""
    most_steps: int
    """The batches that there are for one."""

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        verdict = self.verdict
        return {
            "lr": verdict.best.rate,
            "metric": verdict.metric,
            "within_its_interval": [rival.rate for rival in verdict.rivals],
            "end_of_what_was_tried": verdict.at_end or None,
            "gains_on_start": verdict.gains,
            "start": verdict.start,
            "trials": [dataclasses.asdict(trial) for trial in verdict.trials],
            "new_trials": len(self.new),
            "seconds": round(sum(trial.seconds for trial in self.new), 3),
            "files": [str(self.trials), str(self.plot)],
        }


def search_rates(context: Context, rates: Sequence[float] | None, steps: int | None) -> Found | None:
    """Try rates on the run's own plan; the stages before its training are done first where they are not.

    Args:
        context: in round 0.
        rates: those and no others; None: a coarse row and what lies beside the best of it.
        steps: of each trial; None: a twentieth of the run's, 100 to 500.

    Returns:
        None in a dry run.

    Raises:
        InputError: no validation identities, a metric that they do not have or of which the start has all, more steps than
            the plan has, or no trial that came through.
    """
    check_search(context)
    if not prepare(context, "lr"):
        context.say(
            f"then {_described(rates) if rates else 'a row of rates'}; what they cost is known once those are done"
        )
        return None
    from ...train.data.plan_reader import Plan
    from .cost import cost_in_words, steps_by_default
    from .plot import draw
    from .trial_training import examine_on_validation

    plan = Plan(context.folder.plan)
    steps = steps_by_default(context, plan) if steps is None else steps
    if not FEWEST_STEPS <= steps <= len(plan):
        raise InputError(
            f"--steps {steps}: a trial takes {FEWEST_STEPS} to {len(plan):,}, the batches of {context.folder.plan}"
        )
    check_whole_updates(steps, context.config.train.accumulate)
    say, metric = context.say, context.config.early_stop.metric
    network = open_checkpoint(context.before.checkpoint, context.config)
    centre = centre_of(context, network.spec)
    search = Trials.open(context.run.rate_trials, search_fields(context, steps))
    wanted = list(rates) if rates is not None else first_rates(centre)
    centre = centre if rates is None else None
    _announce(context, search, wanted, steps, centre)
    if context.options.dry_run:
        return None
    start = examine_on_validation(context, network) if search.start is None else search.start
    _check_figure(context, start)
    context.options.on_work()
    if search.start is None:
        search.start = start
        search.save()
    _check_room(metric, start)
    say(f"lr: start: {metric} {figure_in_words(start, metric)}")
    new = _make_trials(context, search, wanted, steps, centre)
    verdict = judge(search.trials, metric, start)
    search.keep_best(metric, verdict.best)
    title = f"{context.run.path.resolve().name}: {counted(len(search.trials), 'rate')}, {steps:,} steps each"
    write_text(context.run.rate_plot, draw(verdict, title))
    context.options.console.say_lines(f"\n{verdict.table()}\n")
    for line in verdict.lines():
        say(line)
    say(f"cost: {cost_in_words(new)}" if new else "cost: nothing, all trials were done before")
    say(f"plot: {context.run.rate_plot}")
    return Found(verdict, context.run.rate_trials, context.run.rate_plot, new, steps, len(plan))


def _announce(
    context: Context, search: Trials, wanted: Sequence[float], steps: int, centre: float | None
) -> None:
    """Say what is left to try and what it will cost; `centre` as in `_next_missing`."""
    from .cost import estimate_trials

    say, further = context.say, _next_missing(search, wanted, context.config.early_stop.metric, centre)
    if further is not None:
        missing = sum(search.of(rate) is None for rate in wanted)
        then = "" if centre is None else ", then two beside the best, or more where it is at an end"
        say(
            f"lr: {_described(wanted)}{then if missing else f' are tried; next is {further:g}, then perhaps others'}"
        )
        more = missing + (LIKELY_MORE if centre is not None else 0)
        say(f"lr: {estimate_trials(context, more, steps, start=search.start is None)}")
    if context.options.dry_run:
        say(f"dry run: {'all of these rates are tried already' if further is None else 'nothing was tried'}")


def _make_trials(
    context: Context, search: Trials, wanted: Sequence[float], steps: int, centre: float | None
) -> list[Trial]:
    """Make the trials of a search that are missing; return the new ones. `centre` as in `_next_missing`."""
    from .trial_training import try_rate

    metric, new = context.config.early_stop.metric, list[Trial]()
    while (rate := _next_missing(search, wanted, metric, centre)) is not None:
        trial = try_rate(context, rate, steps)
        search.add(trial)
        new.append(trial)
        context.say(f"lr: {trial_in_words(trial, metric)}")
    return new


def _next_missing(search: Trials, wanted: Sequence[float], metric: str, centre: float | None) -> float | None:
    """The rate that is tried next: the first wanted one without a trial, or what these lead to; None: all are tried.

    Args:
        centre: of the coarse row; None: nothing but the wanted rates is tried.
    """
    figures, left = dict[float, float | None](), list(wanted)
    while left:
        rate = left.pop(0)
        if (trial := search.of(rate)) is None:
            return rate
        figures[rate] = trial.figure(metric)
        if not left and centre is not None and (further := next_rate(figures, centre)) is not None:
            left.append(further)
    return None


def check_search(context: Context) -> None:
    """Refuse at once what would be wrong after minutes.

    Raises:
        InputError: a rate given as a setting, no validation identities, an unknown metric, or too few identities for a batch.
    """
    given = one_by_one(context.options.overrides)
    if given := [override for override in given if override.split("=")[0] == SETTING]:
        raise InputError(
            f"{given[0]}: `subspace lr` tries rates by itself; give those to try as --rates 1e-4,1e-3,1e-2"
        )
    check_judges(context, "rates")


def check_judges(context: Context, what: str) -> None:
    """Refuse a run that could judge nothing, or train nothing.

    Args:
        what: is to be judged.

    Raises:
        InputError: no validation identities, an unknown metric, or too few identities for a batch.
    """
    problem = HeldOut.validation(context.config).problem(context.manifest)
    if problem is not None:
        raise InputError(
            f"{what} are judged by validation identities, and there are none: {problem}; hold some out with `subspace "
            f"ingest --val-fraction 0.05`"
        )
    metric_is_known(context.config.early_stop, list(context.config.validation.metric_names))
    check_identities(context.config, context.training_identities())


def search_fields(context: Context, steps: int) -> dict[str, Any]:
    """All that a trial depends on besides its rate."""
    from .trial_training import shortened

    config = context.config
    training = {
        name: value
        for name, value in row("train").stage(context).fields.items()
        if not name.startswith(("train.optimizer.", "recluster.", "rounds"))
    }
    optimizer = shortened(config.train.optimizer, steps, config.total_steps)
    return {
        **training,
        **flat_fields("train.optimizer", optimizer.model_dump(), without=("lr",)),
        **flat_fields("train.collapse", config.train.collapse.model_dump()),
        **validate_fields(context),
        "steps": steps,
        "code": CODE_VERSION,
    }


def centre_of(context: Context, spec: str) -> float:
    """Where the coarse row is centred: the rate of the network's family, or else a usual one of the optimiser.

    It is not the rate of the settings, since a search that writes its winner there would move its own row.
    """
    name = context.config.train.optimizer.name
    family = SEARCHED_RATES.get(family_of(spec) or "") if name == "adamw" else None
    return family or CENTRES[name]


def keep_rate(context: Context, rate: float) -> None:
    """Keep a rate as the run's: every command after it has it, as if it had been given on its command line."""
    keep_overrides(context.run, [f"{SETTING}={rate:g}"])
    context.say(f"kept for the next commands of this run: {SETTING}={rate:g} ({context.run.overrides})")
    if context.folder.finished("train"):
        context.say(
            f"{context.folder} is trained with another rate: `subspace run {in_shell(context.run.path)} --force` trains it again"
        )


def prepare(context: Context, command: str) -> bool:
    """Do the stages that come before the training of round 0; in a dry run say them. Returns whether all are done."""
    stages = [(stage, context.at_round(-1)) for stage in rows_of("start")]
    stages += [(stage, context) for stage in rows_of("round") if not stage.trains]
    if not context.options.dry_run:
        for stage, at in stages:
            stage.do(at)
        context.run.note_stage(None)  # what follows is at no stage
        return True
    left = [f"{at.folder.name}/{stage.name}" for stage, at in stages if not at.folder.finished(stage.name)]
    if left:
        context.say(f"{command}: first {', '.join(left)}, as `subspace run` does, which then finds them done")
    return not left


def _described(rates: Sequence[float]) -> str:
    return f"rates {', '.join(f'{rate:g}' for rate in rates)}"


def _check_figure(context: Context, start: Figures) -> None:
    """Refuse a metric that the validation identities are too few for, before any trial."""
    metric = context.config.early_stop.metric
    if start[metric]["value"] is None:
        known = [name for name, found in start.items() if found["value"] is not None]
        raise InputError(
            f"early_stop.metric={metric} is not known for so few validation identities; choose from {', '.join(known)}"
        )


def _check_room(metric: str, start: Figures) -> None:
    """Refuse a metric that the start has all of, before any trial: no rate could gain, in however many steps."""
    if start[metric]["value"] != 1:
        return
    below = [name for name, found in start.items() if found["value"] is not None and found["value"] < 1]
    other = f"early_stop.metric to {', '.join(below)}" if below else "other or more validation identities"
    raise InputError(f"the start has {metric} 100 % on validation, so no rate can gain on it; set {other}")

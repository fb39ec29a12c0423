"""The best rate of a search, which others it cannot be told from, and the table of all, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...mining.errors import InputError
from ..console import aligned, counted, duration, percent
from ..stage_words import metric_in_words
from .rates import best_rate
from .trials import Figures, Trial, read_searches


@dataclass(frozen=True)
class Verdict:
    """What the trials say.

    The winner is the rate with the best figure, of equal ones the lowest. Rates whose figure lies within its interval
    cannot be told from it; none of them is preferred, since the largest among them stands nearest to divergence and
    the smallest learns least.
    """

    metric: str
    best: Trial
    rivals: list[Trial]
    """Trials whose figure is at least the lower end of the best one's interval, the best left out; rising."""
    trials: list[Trial]
    start: Figures

    @property
    def gains(self) -> bool:
        """Whether the best is better than the network that all began with, by more than its interval."""
        before, low = self.start[self.metric]["value"], floor_of(self.best, self.metric)
        return before is None or low > before

    @property
    def at_end(self) -> str:
        """lowest or highest where the best is the end of what was tried; empty where it lies inside."""
        if len(self.trials) == 1:
            return "only"
        ends = {self.trials[0].rate: "lowest", self.trials[-1].rate: "highest"}
        return ends.get(self.best.rate, "")

    def lines(self) -> list[str]:
        """For a person: the winner, and what to think of it."""
        best = self.best
        among = ", ".join(f"{rival.rate:g}" for rival in self.rivals)
        rivals = (
            f"{counted(len(self.rivals), 'other')} within its interval: {among}"
            if among
            else "no other within its interval"
        )
        said = [f"best: {best.rate:g}, {self.metric} {figure_in_words(best.metrics, self.metric)}; {rivals}"]
        if self.at_end:
            said.append(
                f"{best.rate:g} is the {self.at_end} rate that was tried: others may be better (--rates)"
            )
        if not self.gains:
            said.append(
                f"no rate surely gains on the start ({figure_in_words(self.start, self.metric)}) in so few steps, so none "
                "is kept: give trials more of them (--steps)"
            )
        return said

    def table(self) -> str:
        """All trials, a row each, and the start."""
        rows = [["lr", f"{self.metric} on validation", "loss", "steps", "time", ""]]
        rows.append(["start", figure_in_words(self.start, self.metric), "", "", "", ""])
        for trial in self.trials:
            loss = "" if trial.loss is None else f"{trial.loss:.3f}"
            figure = figure_in_words(trial.metrics, self.metric) if trial.state == "done" else "-"
            state = trial.state if trial.state != "done" else "within" if trial in self.rivals else ""
            state = "best" if trial is self.best else state
            rows.append([f"{trial.rate:g}", figure, loss, f"{trial.steps:,}", duration(trial.seconds), state])
        return aligned(rows, text=(0, 5))


def judge(trials: Sequence[Trial], metric: str, start: Figures) -> Verdict:
    """Judge trials, in rising order of their rates, by a metric.

    Raises:
        InputError: all of them diverged or collapsed.
    """
    rate = best_rate({trial.rate: trial.figure(metric) for trial in trials})
    if rate is None:
        raise InputError(
            f"no trial came through: at {trials[0].rate:g} to {trials[-1].rate:g} all diverged or collapsed; "
            "give lower rates (--rates)"
        )
    best = next(trial for trial in trials if trial.rate == rate)
    floor = floor_of(best, metric)
    rivals = [
        trial
        for trial in trials
        if trial is not best and (figure := trial.figure(metric)) is not None and figure >= floor
    ]
    return Verdict(metric, best, rivals, list(trials), start)


def newest_in_words(path: Path) -> str:
    """The newest search of a file of trials in a line: its winner, or how far it is; empty where there was none."""
    if not (searches := read_searches(path)):
        return ""
    newest = searches[-1]
    count = counted(len(newest["trials"]), "rate")
    if not (best := newest["best"]):
        return f"{count} tried so far"
    metric = best["metric"]
    won = metric_in_words(metric, best["value"])
    verdict = judge([Trial(**trial) for trial in newest["trials"]], metric, newest["start"])
    if not verdict.gains:
        before = metric_in_words(metric, newest["start"][metric]["value"])
        return f"none of {count} surely gains on the start, {before} on validation; the best, {best['rate']:g}, has {won}"
    return f"{best['rate']:g} is the best of {count}, {won} on validation"


def floor_of(trial: Trial, metric: str) -> float:
    """The lower end of a trial's interval; its figure where it has none."""
    found = trial.metrics[metric]
    value, low = found["value"], found["low"]
    return (value or 0.0) if low is None else low


def trial_in_words(trial: Trial, metric: str) -> str:
    """`0.004: Rank-1 93.1 % [91.0, 95.2], loss 0.412, 12 s`."""
    if trial.state != "done":
        return f"{trial.rate:g}: {trial.state} at step {trial.steps:,}, {duration(trial.seconds)}"
    loss = "" if trial.loss is None else f", loss {trial.loss:.3f}"
    return (
        f"{trial.rate:g}: {metric} {figure_in_words(trial.metrics, metric)}{loss}, {duration(trial.seconds)}"
    )


def figure_in_words(metrics: Figures, metric: str) -> str:
    """`93.1 % [91.0, 95.2]`, without the interval where it is not known; a dash without the figure."""
    found = metrics.get(metric, {})
    value, low, high = (found.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "-"
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{percent(value, 1)}{interval}"

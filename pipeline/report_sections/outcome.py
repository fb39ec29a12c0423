"""Did it help: the metrics of the start and of each round with their intervals, beside a baseline where one is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..comparison.comparability import DRAWN, DRAWN_IDENTITIES, are_apart, are_drawn, fields_of_images
from ..configuration.early_stop import LESS_IS_BETTER
from ..console import counted, percent
from ..report.chart import Chart
from ..report.chart_kinds import PERCENT, dots_over_rounds
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..round_chain import current_rounds, is_measured
from ..run_directory import RunDirectory
from ..stage_folder import StageFolder
from ..stages.evaluate import basis, in_percent
from ..stages.graph import steps_taken

TITLE = "Did it help?"
MOST_CHARTS = 6
"""Metrics beyond these are in the table alone."""
THIS, BASELINE = "this run", "baseline"

Metrics = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """What networks of a run came to on the same images, in the order of the rounds."""

    on: str
    """test or validation."""
    networks: dict[str, dict[str, Any]]
    """Values by the name of the network in words: start, round 0, ..."""
    images: dict[str, Any]
    """What the choice of the identities rests on: manifest, splits and numbers; the seed only where it draws them."""
    seed: int | None
    """Draws images of the identities; None where nothing says it."""
    elsewhere: list[str]
    """Networks that were examined on other images, in words."""

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, in order."""
        return list(dict.fromkeys(name for found in self.networks.values() for name in found["metrics"]))

    def last(self) -> tuple[str, Metrics]:
        """The last network and what it came to."""
        name = list(self.networks)[-1]
        return name, self.networks[name]["metrics"]


def network_words(folder: StageFolder) -> str:
    """A network in words: start, or its round."""
    return "start" if folder.index < 0 else f"round {folder.index}"


def _place(network: str) -> int:
    """Where a network comes in order, by its words: the start is -1, and a round its number.

    >>> sorted(["round 10", "start", "round 9"], key=_place)
    ['start', 'round 9', 'round 10']
    """
    return -1 if network == "start" else int(network.removeprefix("round "))


def on_same_images(folders: list[StageFolder], stage: str) -> tuple[list[StageFolder], list[str]]:
    """The folders that were examined on the same images as the last of them, and the others in words."""
    images = [fields_of_images(folder.record(stage)["fields"]) for folder in folders]
    are_same = [of_one == images[-1] for of_one in images]
    same = [folder for folder, is_same in zip(folders, are_same, strict=True) if is_same]
    return same, [network_words(folder) for folder in folders if folder not in same]


def elsewhere_in_words(networks: list[str]) -> str:
    """A sentence on the networks, at least one, that were examined on other images.

    >>> elsewhere_in_words(["start", "round 0"])
    'Not shown, since they were examined on other images: start, round 0.'
    """
    they = "it was" if len(networks) == 1 else "they were"
    return f"Not shown, since {they} examined on other images: {', '.join(networks)}."


def measured(run: RunDirectory) -> Measured | None:
    """The evaluations of a run, or its validations where nothing was evaluated; None where neither was."""
    for stage, on in (("eval", "test"), ("validate", "validation")):
        folders = [run.round(index) for index in (-1, *current_rounds(run))]
        done = [folder for folder in folders if is_measured(folder, stage)]
        if done:
            same, elsewhere = on_same_images(done, stage)
            networks = {network_words(folder): folder.examined(stage) for folder in same}
            fields = done[-1].record(stage)["fields"]
            images = fields_of_images(fields)
            seed = images.pop(DRAWN, None)
            if are_drawn(networks[network_words(done[-1])], fields):
                images[DRAWN_IDENTITIES] = seed
            return Measured(on, networks, images, seed, elsewhere)
    return None


def make_outcome(report: RunReport) -> Section:
    """The first section: one sentence that answers, a chart a metric, and all of it as a table."""
    own = measured(report.run)
    if own is None:
        return fill_section(
            "outcome", TITLE, answer=_nothing(report), notes=[], tiles=[], charts=[], head=[], rows=[]
        )
    beside, why_not = _baseline(report, own)
    name = _headline(report, own)
    names = sorted(own.metrics, key=lambda metric: metric != name)
    return fill_section(
        "outcome",
        TITLE,
        answer=_answer(own, beside, name),
        notes=[*([why_not] if why_not else []), *_notes(report, own, beside)],
        tiles=_tiles(own, beside, name),
        charts=[_chart(own, beside, metric, number) for number, metric in enumerate(names[:MOST_CHARTS])],
        head=["network", *names],
        rows=_rows(own, beside, names),
    )


def _nothing(report: RunReport) -> str:
    return (
        "No network has been evaluated yet: there is no test or validation split, or the run is not that far."
    )


def _headline(report: RunReport, own: Measured) -> str:
    """The metric of the answer: that by which the run chooses; else the first, of which more is better if there is one."""
    wanted = [
        report.settings.early_stop.metric,
        *(name for name in own.metrics if name not in LESS_IS_BETTER),
    ]
    return next((name for name in wanted if name in own.metrics), own.metrics[0])


def _baseline(report: RunReport, own: Measured) -> tuple[Measured | None, str]:
    """What the baseline came to on the same images, or why it cannot be set beside."""
    if report.baseline is None:
        return None, "No run with random batches is set beside it (`--baseline RUN`)."
    found = measured(report.baseline)
    name = report.baseline.path.name
    if found is None:
        return None, f"The baseline {name} has no evaluation yet."
    if found.on != own.on or found.images != own.images:
        return None, f"The baseline {name} was examined on other images, so it is not set beside this run."
    return found, ""


def _value(metrics: Metrics, name: str) -> float | None:
    return metrics[name]["value"] if name in metrics else None


def _moved(later: Mapping[str, Any], earlier: Mapping[str, Any]) -> str:
    """How far two values are apart, and whether their intervals are."""
    points = 100 * (later["value"] - earlier["value"])
    far = f"{abs(points):.1f} points {'more' if points >= 0 else 'less'}"
    apart = are_apart(later, earlier)
    intervals = "are not known" if apart is None else "do not touch" if apart else "overlap"
    return f"{far}, and the 95 % intervals {intervals}"


def _answer(own: Measured, beside: Measured | None, name: str) -> str:
    label, last = own.last()
    first = own.networks.get("start", {}).get("metrics", {})
    if _value(last, name) is None:
        return f"{name} is not known: there were too few pairs."
    value = percent(last[name]["value"], 1)
    if label == "start" or _value(first, name) is None:
        other = "no other network of this run is evaluated"
        if len(own.networks) > 1:
            other = "the starting network is not evaluated by it"
        there = "on the same images" if own.elsewhere else "yet"
        answer = f"{name} of the network of {label} is {value}; {other} {there}."
    else:
        better = (last[name]["value"] > first[name]["value"]) != (name in LESS_IS_BETTER)
        verdict = ("Yes" if better else "No") if are_apart(last[name], first[name]) else "It cannot be told"
        answer = f"{verdict}: {name} is {value} after {label}, {percent(first[name]['value'], 1)} at the start: {_moved(last[name], first[name])}."
    if beside is not None:
        its_label, its = beside.last()
        if _value(its, name) is not None:
            came_to = f"{percent(its[name]['value'], 1)} {_when(its_label, 'its')}"
            answer += f" The baseline came to {came_to}. This run has {_moved(last[name], its[name])}."
    return answer


def _when(label: str, whose: str = "the") -> str:
    return f"at {whose} start" if label == "start" else f"after {label}"


def _notes(report: RunReport, own: Measured, beside: Measured | None) -> list[str]:
    basis_words = basis(list(own.networks.values())[-1])
    found = [f"Measured {basis_words}, of the {own.on} split; brackets are 95 % intervals."]
    if own.on == "validation":
        found.append(
            "No test evaluation is done, so these are the validation figures, by which the best round is chosen."
        )
    if own.elsewhere:
        found.append(elsewhere_in_words(own.elsewhere))
    if beside is not None and report.baseline is not None:
        steps = [
            steps_taken(run, max(current_rounds(run), default=-1) + 1)
            for run in (report.run, report.baseline)
        ]
        found.append(
            f"The baseline is {report.baseline.path.name}: {counted(steps[1], 'training step')}, this run {steps[0]:,}."
        )
        if beside.elsewhere:
            found.append(f"Of the baseline: {elsewhere_in_words(beside.elsewhere)}")
        if beside.seed != own.seed:
            found.append(
                "The seeds of the two runs draw other images of the same identities: figures differ by that, too."
            )
    return found


def _tiles(own: Measured, beside: Measured | None, name: str) -> list[tuple[str, str, str]]:
    label, last = own.last()
    found = [
        (f"{name}, {network}", metrics)
        for network, metrics in (("start", own.networks.get("start", {}).get("metrics", {})), (label, last))
    ]
    if label == "start":
        found = found[1:]
    if beside is not None:
        its_label, its = beside.last()
        found.append((f"{name}, baseline, {its_label}", its))
    return [
        (title, percent(metrics[name]["value"], 1), _interval(metrics[name]))
        for title, metrics in found
        if _value(metrics, name) is not None
    ]


def _interval(metric: Mapping[str, Any]) -> str:
    if metric["low"] is None or metric["high"] is None:
        return "no interval"
    return f"{100 * metric['low']:.1f} to {100 * metric['high']:.1f}"


def _rows(own: Measured, beside: Measured | None, names: list[str]) -> list[list[str]]:
    found = [(label, evaluation) for label, evaluation in own.networks.items()]
    if beside is not None:
        found += [(f"baseline, {label}", evaluation) for label, evaluation in beside.networks.items()]
    return [
        [label, *(in_percent(evaluation["metrics"].get(name)) for name in names)]
        for label, evaluation in found
    ]


def _chart(own: Measured, beside: Measured | None, name: str, number: int) -> Chart:
    """One metric over the networks."""
    series = {THIS: own, **({BASELINE: beside} if beside is not None else {})}
    rows = [
        {
            "round": label,
            "series": title,
            **{key: _hundred(found[key]) for key in ("value", "low", "high")},
        }
        for title, run in series.items()
        for label, evaluation in run.networks.items()
        if (found := evaluation["metrics"].get(name)) is not None and found["value"] is not None
    ]
    order = sorted({str(row["round"]) for row in rows}, key=_place)
    sentence = _sentence(own, beside, name)
    return Chart(
        f"outcome-{number}",
        name,
        f"{name} in percent, a dot with its 95 % interval for each network in order. {sentence}",
        sentence,
        dots_over_rounds(rows, order, list(series), axis=PERCENT, number=".1f"),
        ["network", "run", name],
        [
            [label, title, in_percent(evaluation["metrics"].get(name))]
            for title, run in series.items()
            for label, evaluation in run.networks.items()
        ],
        height=190,
    )


def _sentence(own: Measured, beside: Measured | None, name: str) -> str:
    label, last = own.last()
    first = own.networks.get("start", {}).get("metrics", {})
    words = [f"{in_percent(first[name])} % at the start"] if name in first and label != "start" else []
    words.append(f"{in_percent(last.get(name))} % {_when(label)}")
    if beside is not None:
        its_label, its = beside.last()
        words.append(f"{in_percent(its.get(name))} % for the baseline {_when(its_label, 'its')}")
    return f"{'; '.join(words)}."


def _hundred(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 3)

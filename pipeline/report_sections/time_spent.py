"""Where the time went: by round and kind of work, by stage, and inside the trainings."""

from __future__ import annotations

from ...train.monitoring.metrics_file import read_metrics
from ...train.monitoring.phase_seconds import sum_phases
from ..console import duration, percent
from ..report.chart import Chart
from ..report.chart_kinds import stacked_bars
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..stage_words import PHASE_WORDS
from ..stages.graph import STAGES
from .outcome import network_words

TITLE = "Where the time went"
KINDS = {"pretrain": "training", "train": "training", "validate": "measuring", "eval": "measuring"}
"""Any other stage mines."""
MOST_ROUNDS = 30
"""Bars of rounds; the table has all."""
ORDER: tuple[str, ...] = ("training", "mining", "measuring")


def make_time_spent(report: RunReport) -> Section:
    """Seconds of everything that is done."""
    seconds = {
        (network_words(folder), stage.name): folder.record(stage.name)["seconds"]
        for folder in report.folders
        for stage in STAGES
        if folder.finished(stage.name)
    }
    total = sum(seconds.values())
    if not total:
        return fill_section("time_spent", TITLE, answer="Nothing that is done took any time.", charts=[])
    by_kind = dict.fromkeys(ORDER, 0.0)
    for (_, stage), spent in seconds.items():
        by_kind[KINDS.get(stage, "mining")] += spent
    shares = ", ".join(f"{kind} {percent(spent / total)}" for kind, spent in by_kind.items())
    answer = f"All stages together took {duration(total)}: {shares}. Mining is extraction, clustering and planning."
    charts = [_rounds(seconds, by_kind, total), _stages(seconds, total), *_phases(report)]
    return fill_section("time_spent", TITLE, answer=answer, charts=charts)


def _rounds(seconds: dict[tuple[str, str], float], by_kind: dict[str, float], total: float) -> Chart:
    names = list(dict.fromkeys(name for name, _ in seconds))
    spent: dict[tuple[str, str], float] = {}
    for (name, stage), took in seconds.items():
        key = name, KINDS.get(stage, "mining")
        spent[key] = spent.get(key, 0.0) + took
    shown = names[-MOST_ROUNDS:]
    rows = [
        {"bar": name, "part": kind, "seconds": round(took, 3), "place": ORDER.index(kind)}
        for (name, kind), took in spent.items()
        if name in shown
    ]
    sentence = f"Mining cost {duration(by_kind['mining'])} of {duration(total)}, {percent(by_kind['mining'] / total)} of the time."
    if len(names) > len(shown):
        sentence += f" The bars are of the last {len(shown)} rounds."
    return Chart(
        "time-rounds",
        "By round",
        f"A bar for each round, in seconds of training, mining and measuring. {sentence}",
        sentence,
        stacked_bars(rows, shown, [kind for kind in ORDER if by_kind[kind]]),
        ["round", *ORDER],
        [
            [name, *(duration(spent[name, kind]) if (name, kind) in spent else "" for kind in ORDER)]
            for name in names
        ],
        height=max(90, 22 * len(shown) + 30),
    )


def _stages(seconds: dict[tuple[str, str], float], total: float) -> Chart:
    by_stage: dict[str, float] = {}
    for (_, stage), took in seconds.items():
        by_stage[stage] = by_stage.get(stage, 0.0) + took
    order = sorted(by_stage, key=lambda stage: -by_stage[stage])
    rows = [
        {"bar": stage, "part": "all", "seconds": round(by_stage[stage], 3), "place": 0} for stage in order
    ]
    first = order[0]
    sentence = (
        f"Most of it went into {first}: {duration(by_stage[first])}, {percent(by_stage[first] / total)}."
    )
    return Chart(
        "time-stages",
        "By stage",
        f"A bar for each stage, in seconds over all rounds. {sentence}",
        sentence,
        stacked_bars(rows, order, ["all"]),
        ["stage", "time", "share"],
        [[stage, duration(by_stage[stage]), percent(by_stage[stage] / total)] for stage in order],
        height=max(90, 22 * len(order) + 30),
    )


def _phases(report: RunReport) -> list[Chart]:
    """The parts of all trainings together, from their logs."""
    spent: dict[str, float] = {}
    for folder in report.folders:
        for name, took in (sum_phases(read_metrics(folder.metrics)) or {}).items():
            word = PHASE_WORDS.get(name, name)
            spent[word] = spent.get(word, 0.0) + took
    total = sum(spent.values())
    if not total:
        return []
    order = sorted(spent, key=lambda name: -spent[name])
    rows = [{"bar": name, "part": "all", "seconds": round(spent[name], 3), "place": 0} for name in order]
    loading = spent.get(PHASE_WORDS["data"], 0.0)
    sentence = f"The largest part of a training step is {order[0]} ({percent(spent[order[0]] / total)}); waiting for images is {percent(loading / total)}, the loss with its mining {percent(spent.get(PHASE_WORDS['loss'], 0.0) / total)}."
    return [
        Chart(
            "time-phases",
            "Inside the trainings",
            f"A bar for each part of a training step, in seconds. {sentence}",
            sentence,
            stacked_bars(rows, order, ["all"]),
            ["part", "time", "share"],
            [[name, duration(spent[name]), percent(spent[name] / total)] for name in order],
            height=max(90, 22 * len(order) + 30),
        )
    ]

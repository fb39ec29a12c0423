"""`subspace compare`: settings that differ, figures side by side, one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ..console import Console, duration
from ..inspection.on_terminal import say_table
from ..inspection.settings_file import written
from ..output_file import PLOT, check_output
from .comparability import apart_and_overlapping, are_comparable, differing_bases, in_words
from .compared_run import KINDS, ComparedRun, short_names
from .differing_settings import NOT_SET, settings_that_differ
from .figures_table import figures_rows, metrics_of, networks_rows
from .plot import chosen_figure, draw_comparison

NOTE = "intervals that are apart show a difference; intervals that overlap show neither a difference nor that there is none"


def show_comparison(paths: Sequence[Path], console: Console, out: Path | None = None) -> dict[str, Any]:
    """Say what runs differ in and what they came to, and draw a plot where `out` is given; return it for a program.

    Raises:
        InputError: fewer than two runs, one that is none, or a plot that cannot be drawn (the rest was said).
        StaleArtifactError: a file of a run is damaged.
    """
    if len({path.absolute() for path in paths}) < 2:
        raise InputError("compare takes two runs or more, e.g. `subspace compare runs/random runs/subspace`")
    if out is not None:
        check_output(out, PLOT)
    unique = list(dict.fromkeys(paths))
    runs = dict(zip(short_names(unique), map(ComparedRun.read, unique), strict=True))
    settings = settings_that_differ([run.config for run in runs.values()])
    known = {kind for run in runs.values() for one in run.networks for kind in one.figures}
    bases = {kind: differing_bases(list(runs.values()), kind) for kind in KINDS if kind in known}
    result = _as_json(runs, settings, bases)
    console.result(result)
    if not console.as_json:
        _say(runs, settings, bases, console)
    if out is not None:
        figure = chosen_figure(runs)
        if figure is None:
            raise InputError(f"{out} was not drawn: no run has figures yet")
        draw_comparison(runs, *figure, out, are_comparable(bases[figure[0]]))
        console.say()
        console.say(f"{figure[1]} on the {figure[0]} identities is drawn in {out}")
    return result


def _say(
    runs: Mapping[str, ComparedRun],
    settings: Mapping[str, list[Any]],
    bases: Mapping[str, list[str]],
    console: Console,
) -> None:
    columns = range(len(runs) + 2)
    if settings:
        console.say(f"settings that differ ({len(settings):,})")
        rows = [[key, *map(_written, values)] for key, values in settings.items()]
        say_table(console, [["setting", *runs], *rows], columns)
    else:
        console.say("all settings are the same")
    console.say()
    console.say("how far the runs are")
    seconds = ["time of finished stages", *(duration(run.seconds) for run in runs.values())]
    say_table(console, [*networks_rows(runs), seconds])
    for kind, differing in bases.items():
        comparable = are_comparable(differing)
        console.say()
        console.say(f"{in_words(kind, differing)}; in percent, with 95 % intervals")
        say_table(console, figures_rows(runs, kind, comparable), (0, 1))
    if any(map(are_comparable, bases.values())):
        console.say(NOTE)
    if not bases:
        console.say()
        console.say("no run has figures yet")


def _written(value: Any) -> str:
    return NOT_SET if value == NOT_SET else written(value)


def _as_json(
    runs: Mapping[str, ComparedRun], settings: Mapping[str, list[Any]], bases: Mapping[str, list[str]]
) -> dict[str, Any]:
    overlaps: dict[str, Any] = {}
    for kind, differing in bases.items():
        if are_comparable(differing):
            for (metric, which), of_runs in metrics_of(runs, kind).items():
                apart, overlapping = apart_and_overlapping(of_runs)
                entry = {"apart": apart, "overlap": overlapping}
                overlaps.setdefault(kind, {}).setdefault(metric, {})[which] = entry
    return {
        "runs": [
            {
                "name": name,
                "path": str(run.path),
                "best": run.best,
                "seconds": run.seconds,
                "networks": [
                    {
                        "network": one.name,
                        "steps": one.steps,
                        "images": one.images,
                        **{kind: found["metrics"] for kind, found in one.figures.items()},
                    }
                    for one in run.networks
                ],
            }
            for name, run in runs.items()
        ],
        "settings": settings,
        "differing": bases,
        "comparable": {kind: are_comparable(differing) for kind, differing in bases.items()},
        "intervals": overlaps,
    }

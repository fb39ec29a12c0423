"""One figure of each run over its training steps, or over the images that it was shown, with 95 % intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...mining.artifacts import whole_file
from ...mining.errors import InputError
from ..output_file import MADE_BY
from ..terminal_text import printable_line
from .compared_run import ComparedRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES, DOTS = (7.2, 4.6), 130
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by the colour-blind too (Okabe and Ito 2008); markers differ as well."""
MARKERS = "osD^vPX"
MISSING = "a plot needs matplotlib: pip install 'subspace-mining[plots]'"


def chosen_figure(runs: Mapping[str, ComparedRun]) -> tuple[str, str] | None:
    """Which kind of figures and which metric a plot shows: of the test where all runs have it, by which the first decides.

    Where some have it, of validation if any has that. None where there are no figures.
    """
    having = {
        kind: [run for run in runs.values() if any(kind in one.figures for one in run.networks)]
        for kind in ("test", "validation")
    }
    order = ("test", "validation") if len(having["test"]) == len(runs) else ("validation", "test")
    for kind in order:
        if having[kind]:
            measured = next(one for one in having[kind][0].networks if kind in one.figures)
            metrics = measured.figures[kind]["metrics"]
            wanted = next(iter(runs.values())).config.early_stop.metric
            return kind, wanted if wanted in metrics else next(iter(metrics))
    return None


def draw_comparison(
    runs: Mapping[str, ComparedRun], kind: str, metric: str, out: Path, comparable: bool = True
) -> None:
    """Write the plot of a metric, whole or not at all: PNG or SVG, by the name of the file.

    Args:
        comparable: whether the figures are of the same identities; the title says where they are not.

    Raises:
        InputError: matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InputError(MISSING) from error
    suffix = out.suffix.lower().removeprefix(".")
    said: dict[str, Any] = {"Software": MADE_BY} if suffix == "png" else {"Creator": MADE_BY, "Date": None}
    with rc_context({"svg.hashsalt": "subspace"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters that the font lacks are drawn as boxes
        figure = Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, runs, kind, metric)
        if not comparable:
            figure.axes[0].set_title(
                f"{metric}: not comparable, not all are of the same {kind} identities or images", fontsize=11
            )
        with whole_file(out) as aside:
            figure.savefig(aside, format=suffix, metadata=said)


def _draw(figure: Figure, runs: Mapping[str, ComparedRun], kind: str, metric: str) -> None:
    by_images = not _same_images_a_step(runs)
    axes = figure.add_subplot()
    lines = []
    for number, run in enumerate(runs.values()):
        known = [one for one in run.networks if _value(one.figures, kind, metric) is not None]
        x = [one.images if by_images else one.steps for one in known]
        found = [one.figures[kind]["metrics"][metric] for one in known]
        y = [100 * one["value"] for one in found]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        lines += axes.plot(x, y, color=colour, marker=marker, markersize=5)
        if all(one["low"] is not None and one["high"] is not None for one in found):
            low, high = ([100 * one[end] for one in found] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="images shown" if by_images else "training steps", ylabel=f"{metric}, %")
    axes.set_title(f"{metric} on the {kind} identities, with 95 % intervals", fontsize=11)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    legend = axes.legend(lines, [f"run {number}" for number in range(len(lines))], fontsize=9)
    for text, name in zip(legend.get_texts(), runs, strict=True):
        text.set_parse_math(False)  # a name is no formula
        text.set_text(printable_line(name))


def _value(figures: Mapping[str, Any], kind: str, metric: str) -> float | None:
    return figures.get(kind, {}).get("metrics", {}).get(metric, {}).get("value")


def _same_images_a_step(runs: Mapping[str, ComparedRun]) -> bool:
    shares = {one.images / one.steps for run in runs.values() for one in run.networks if one.steps}
    return len(shares) <= 1

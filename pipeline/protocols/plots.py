"""Plots of an evaluation as PNG, drawn by matplotlib without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .outcome import Curve

INCHES, DOTS = (6.4, 4.4), 130


def draw(curve: Curve, path: Path) -> None:
    """Write one plot. No global state of matplotlib is touched: neither its backend nor its style.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "roc.png")
    >>> draw(Curve("ROC", "FAR", "TAR", {"1:1": ([1e-3, 1], [0.5, 1])}, log_x=True), path)
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    figure = Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, (x, y) in curve.lines.items():
        x, y = np.asarray(x, float), np.asarray(y, float)
        shown = x > 0 if curve.log_x else np.isfinite(x)
        style = {"drawstyle": "steps-post"} if curve.steps else {}
        marker = "o" if shown.sum() <= 20 else ""
        axes.plot(x[shown], y[shown], label=label, marker=marker, markersize=3, **style)
    for label, (x, y) in curve.marks.items():
        axes.plot([x], [y], "o", markersize=5, color="black")
        axes.annotate(label, (x, y), xytext=(-4, 6), textcoords="offset points", fontsize=8, ha="right")
    if curve.log_x:
        axes.set_xscale("log")
    axes.set(title=curve.title, xlabel=curve.x, ylabel=curve.y, ylim=(-0.02, 1.06))
    axes.grid(alpha=0.3)
    if len(curve.lines) > 1:
        axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Software": None})

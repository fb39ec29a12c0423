"""Specs are what Vega-Lite takes: its own compiler says so. Covers pipeline/report/chart.py, too."""

from __future__ import annotations

from typing import Any

import pytest
import vl_convert

from subspace.pipeline.report.chart import Chart
from subspace.pipeline.report.chart_kinds import (
    dots_over_rounds,
    histogram_bars,
    lines_over_steps,
    stacked_bars,
)

SERIES = ["this run", "baseline"]
STEPS = [{"step": step, "series": name, "value": step / 9} for step in (10, 20) for name in SERIES]
ROUNDS = [
    {"round": f"round {index}", "series": name, "value": 0.5, "low": 0.4, "high": 0.6}
    for index in range(3)
    for name in SERIES
]
BARS = [{"bar": "a", "part": name, "seconds": 7200.0, "place": 0} for name in SERIES]
SPECS = {
    "lines": lines_over_steps(STEPS, SERIES, boundaries=[(0, "round 0"), (10, "round 1")]),
    "dots": dots_over_rounds(ROUNDS, ["round 0", "round 1", "round 2"], SERIES),
    "bars": stacked_bars(BARS, ["a"], SERIES),
    "histogram": histogram_bars([{"from": 1, "to": 3, "count": 2}], title="size", unit="subspaces"),
}


@pytest.mark.parametrize("kind", SPECS)
def test_vega_lite_draws_it(kind: str) -> None:
    chart = Chart(kind, kind, "what it shows", "what one sees", SPECS[kind], ["a"], [["b"]])
    spec = plain(chart.full_spec)
    drawn = vl_convert.vegalite_to_svg({**spec, "width": 300})
    for colour in ("c1", "c2") if kind != "histogram" else ("c1",):
        assert COLOURS[colour] in drawn
    for words in {"lines": ("round 1", "baseline"), "bars": ("hours", "baseline"), "dots": ("round 2",), "histogram": ("size",)}[kind]:  # fmt: skip
        assert words in drawn


COLOURS = {"c1": "#010203", "c2": "#040506", "c3": "#070809", "c4": "#0a0b0c", "faint": "#0d0e0f"}


def plain(value: Any) -> Any:
    """A spec with colours in the place of the theme's, as the page's script puts them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, str) and value.startswith("var(--"):
        return COLOURS[value[6:-1]]
    return value

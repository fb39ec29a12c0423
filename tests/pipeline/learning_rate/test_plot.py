"""The plot of a search: whole XML, every rate and trial on it, whatever the figures.

Covers pipeline/learning_rate/svg_panel.py, too.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.pipeline.learning_rate.plot import draw
from subspace.pipeline.learning_rate.svg_panel import rounded, ticks_of
from subspace.pipeline.learning_rate.trials import Trial
from subspace.pipeline.learning_rate.verdict import judge

SVG = "{http://www.w3.org/2000/svg}"


def drawn(values: dict[float, float | None], title: str = "photos") -> ET.Element:
    trials = [
        Trial(rate, "diverged", 2, 64, 1.0, "cpu", {}, [[1, 0.9]])
        if value is None
        else Trial(
            rate, "done", 40, 64, 1.0, "cpu", {"Rank-1": {"value": value, "low": value, "high": min(1, value + 0.1)}},
            [[step, 1 / step] for step in range(1, 41)],
        )
        for rate, value in values.items()
    ]  # fmt: skip
    start = {"Rank-1": {"value": 0.5, "low": None, "high": None}}
    return ET.fromstring(draw(judge(trials, "Rank-1", start), title))


def words(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_all_rates_are_on_it_on_a_log_axis() -> None:
    root = drawn({0.001: 0.7, 0.01: 0.9, 0.1: 0.8, 10.0: None}, "a < b & c")
    assert {"a < b & c", "0.001", "0.01", "0.1", "10", "× diverged", "start"} <= set(words(root))
    x = [float(circle.get("cx", "nan")) for circle in root.iter(f"{SVG}circle")]
    y = [float(circle.get("cy", "nan")) for circle in root.iter(f"{SVG}circle")]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert y[1] < y[2] < y[0]  # higher is better, and higher up
    assert y[0] - y[1] == pytest.approx(2 * (y[2] - y[1]), abs=0.3)
    assert len(list(root.iter(f"{SVG}polyline"))) == 1 + 4  # the figures, and a loss curve each


@given(low=st.integers(0, 990), height=st.integers(1, 10), digits=st.integers(0, 3))
def test_ticks_are_round_and_inside_and_neither_few_nor_many(low: int, height: int, digits: int) -> None:
    """Also where a span is a power of ten but for the last bit, as of 0.1 + 0.2."""
    bottom, top = rounded(low / 10**digits, (low + height) / 10**digits)
    ticks = ticks_of(bottom, top)
    assert 4 <= len(ticks) <= 13
    assert ticks[0] == pytest.approx(bottom)
    assert bottom <= ticks[-1] <= top + 1e-9
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)


@pytest.mark.parametrize("values", [{0.1: 0.5}, {0.1: 0.5, 1.0: 0.5}, {0.1: 1.0, 1.0: 0.0}])
def test_equal_figures_and_extremes_stay_in_the_frame(values: dict[float, float | None]) -> None:
    root = drawn(values)
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy"):
                assert math.isfinite(float(value))
                assert 0 <= float(value) <= (width if "x" in name else height)

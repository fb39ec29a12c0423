"""Kinds of charts: lines over the steps of a training, dots over its rounds, bars. All are Vega-Lite as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .chart import ACCENT, FAINT, FOURTH, SECOND, THIRD

Row = Mapping[str, Any]
PALETTE = (ACCENT, SECOND, THIRD, FOURTH)
"""Colours of series in their order."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
"""Lines differ in more than colour."""
SHAPES = ("circle", "diamond", "square", "triangle-up")
TIME_UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))
PERCENT = {"labelExpr": "datum.label + ' %'"}
MOST_NAMED = 12
"""Rounds whose boundaries are named in a chart."""
MOST_RULED = 40
"""Rounds whose boundaries are drawn at all."""


def lines_over_steps(
    rows: Sequence[Row],
    series: Sequence[str],
    *,
    boundaries: Sequence[tuple[int, str]] = (),
    axis: Mapping[str, Any] | None = None,
    number: str = ".3f",
    zero: bool = False,
) -> dict[str, Any]:
    """Lines, one a series: `rows` of step, value and series, over all steps of a run.

    Args:
        boundaries: the step at which each round begins, and its name.
        axis: of the values.
        number: how a value is written, in d3's words.
        zero: whether the values' axis begins at zero.
    """
    several = len(series) > 1
    x = {
        "field": "step",
        "type": "quantitative",
        "title": "training step",
        "axis": {"format": ",d", "tickMinStep": 1},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": None,
        "scale": {"zero": zero},
        "axis": {**(axis or {})},
    }
    legend = {"symbolType": "stroke", "symbolStrokeWidth": 2.5, "symbolSize": 300, "offset": 26}
    shown = {"field": "series", "type": "nominal", "title": None, "legend": legend if several else None}
    scale = {"domain": list(series), "range": list(PALETTE[: len(series)])}
    dash = {"domain": list(series), "range": list(DASHES[: len(series)])}
    colour = {**shown, "scale": scale}
    lines = {
        "mark": {"type": "line", "interpolate": "linear", "strokeJoin": "round"},
        "encoding": {"x": x, "y": y, "color": colour, "strokeDash": {**shown, "scale": dash}},
    }
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    touch = {
        "mark": {"type": "point", "filled": True, "size": 45},
        "params": [{"name": "near", "select": near}],
        "encoding": {
            "x": x,
            "y": y,
            "color": colour,
            "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            "tooltip": [
                {"field": "step", "format": ",d"},
                {"field": "value", "format": number},
                *([{"field": "series"}] if several else []),
            ],
        },
    }
    return {"layer": [*_rules(boundaries), lines, touch], "data": {"values": list(rows)}}


def _rules(boundaries: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    """Where rounds begin."""
    if not boundaries or len(boundaries) > MOST_RULED:
        return []
    data = {"values": [{"step": step, "name": name} for step, name in boundaries]}
    x = {"field": "step", "type": "quantitative"}
    rules: list[dict[str, Any]] = [
        {
            "data": data,
            "mark": {"type": "rule", "color": FAINT, "opacity": 0.35, "strokeDash": [3, 3]},
            "encoding": {"x": x},
        }
    ]
    if len(boundaries) <= MOST_NAMED:
        words = {
            "type": "text",
            "align": "left",
            "dx": -1,
            "baseline": "bottom",
            "fontSize": 11,
            "color": FAINT,
        }
        rules.append(
            {"data": data, "mark": words, "encoding": {"x": x, "y": {"value": -4}, "text": {"field": "name"}}}
        )
    return rules


def dots_over_rounds(
    rows: Sequence[Row],
    order: Sequence[str],
    series: Sequence[str],
    *,
    axis: Mapping[str, Any] | None = None,
    number: str = ".2f",
    limits: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Dots joined by lines: `rows` of round, value and series; low and high are the ends of an interval where given.

    Series stand beside each other by a few pixels, so that none hides another. `limits` are those of the values' axis.
    """
    several = len(series) > 1
    x = {
        "field": "round",
        "type": "ordinal",
        "sort": list(order),
        "title": None,
        "scale": {"type": "point", "padding": 0.35},
        "axis": {"labelAngle": 0, "ticks": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": list(limits)} if limits else {"zero": False, "nice": True},
        "axis": {**(axis or {})},
    }
    aside = {"field": "series", "type": "nominal", "scale": {"domain": list(series), "range": [-4, 4]}}
    scale = {"domain": list(series), "range": list(PALETTE[: len(series)])}
    colour = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": scale,
        "legend": {"symbolOpacity": 1} if several else None,
    }
    shape = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(series), "range": list(SHAPES[: len(series)])},
        "legend": {"symbolOpacity": 1} if several else None,
    }
    with_ends = any(row.get("low") is not None for row in rows)
    ends = [{"field": "low", "format": number}, {"field": "high", "format": number}] if with_ends else []
    tooltip = [
        {"field": "round"},
        *([{"field": "series"}] if several else []),
        {"field": "value", "format": number},
        *ends,
    ]
    encoding = {"x": x, "y": y, "color": colour, **({"xOffset": aside} if several else {})}
    bars = {
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6},
        "encoding": {**encoding, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
    }
    return {
        "data": {"values": list(rows)},
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.45}, "encoding": encoding},
            *([bars] if with_ends else []),
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 70 if len(order) <= MOST_RULED else 20,
                    "opacity": 1,
                },
                "encoding": {**encoding, "shape": shape, "tooltip": tooltip},
            },
        ],
    }


def histogram_bars(bins: Sequence[Row], *, title: str, unit: str) -> dict[str, Any]:
    """Bars over a number line: `bins` of from, to and count."""
    most = max(row["count"] for row in bins)
    whole = {"values": list(range(most + 1))} if most <= 5 else {"tickMinStep": 1}
    return {
        "data": {"values": list(bins)},
        "mark": {"type": "bar", "color": ACCENT, "binSpacing": 1},
        "encoding": {
            "x": {
                "field": "from",
                "type": "quantitative",
                "bin": {"binned": True},
                "title": title,
                "axis": {"format": ",d", "tickMinStep": 1},
                "scale": {"zero": False, "nice": False},
            },
            "x2": {"field": "to"},
            "y": {
                "field": "count",
                "type": "quantitative",
                "title": None,
                "axis": {"format": ",d", **whole},
            },
            "tooltip": [
                {"field": "from", "format": ",d"},
                {"field": "to", "format": ",d", "title": "below"},
                {"field": "count", "format": ",d", "title": unit},
            ],
        },
    }


def stacked_bars(rows: Sequence[Row], order: Sequence[str], parts: Sequence[str]) -> dict[str, Any]:
    """Horizontal bars: `rows` of bar, part and seconds; the bars in `order`, each of `parts`, in the unit that suits."""
    several = len(parts) > 1
    longest = max(sum(row["seconds"] for row in rows if row["bar"] == bar) for bar in order)
    unit, length = next(found for found in TIME_UNITS if longest >= 2 * found[1] or found[1] == 1)
    values = [{**row, "time": round(row["seconds"] / length, 4)} for row in rows]
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "y": {
                "field": "bar",
                "type": "nominal",
                "sort": list(order),
                "title": None,
                "axis": {"labelLimit": 130},
            },
            "x": {
                "field": "time",
                "type": "quantitative",
                "title": unit,
                "axis": {"format": ",~r", "grid": True},
            },
            "color": {
                "field": "part",
                "type": "nominal",
                "title": None,
                "sort": list(parts),
                "scale": {"domain": list(parts), "range": list(PALETTE[: len(parts)])},
                "legend": {"symbolOpacity": 1} if several else None,
            },
            "order": {"field": "place", "type": "quantitative"},
            "tooltip": [
                {"field": "bar"},
                *([{"field": "part"}] if several else []),
                {"field": "time", "format": ",.2f", "title": unit},
            ],
        },
    }

"""A chart: a Vega-Lite spec, and the words and figures that say the same without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ACCENT, SECOND, THIRD, FOURTH, FIFTH, FAINT = (
    f"var(--{name})" for name in ("c1", "c2", "c3", "c4", "c5", "faint")
)
"""Colours of series by the theme: blue for this run, orange for what it is set beside, grey for the background.

They are those of Okabe and Ito, which people with any colour vision tell apart. A string `var(--NAME)` anywhere in a
spec becomes that colour of the page's theme, and again when the theme changes.
"""


@dataclass(frozen=True)
class Chart:
    """One chart of the page. `{{ figure(chart) }}` shows all of it.

    >>> chart = Chart("loss", "Loss", "A line that falls.", "It fell from 2 to 1.", {"mark": "line"}, ["step"], [["0"]])
    >>> chart.full_spec["width"], chart.full_spec["description"]
    ('container', 'A line that falls.')
    """

    name: str
    """Its id in the page."""
    title: str
    alt: str
    """What a person who does not see it is told that it shows."""
    sentence: str
    """What one sees in it, with figures."""
    spec: Mapping[str, Any]
    """Vega-Lite 6 without width and theme; its data inline, as values."""
    head: Sequence[str]
    """Columns of its table of figures, which opens on demand."""
    rows: Sequence[Sequence[str]]
    height: int = 220
    """Pixels; its width is the page's."""
    renderer: str = field(default="svg")
    """svg, or canvas for thousands of marks."""

    @property
    def full_spec(self) -> dict[str, Any]:
        """The spec as Vega takes it."""
        return {
            "width": "container",
            "height": self.height,
            "autosize": {"type": "fit-x", "contains": "padding"},
            "description": self.alt,
            "background": None,
            **self.spec,
        }


def axis(title: str | None, **more: Any) -> dict[str, Any]:
    """An axis with its title at hand."""
    return {"title": title, **more}

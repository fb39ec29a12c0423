"""A section of a report, and HTML out of a template and plain data: whatever is printed is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from ..terminal_text import printable_line
from .run_report import RunReport

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = (
    Path(__file__).parent / "templates",
    Path(__file__).parent.parent / "report_sections" / "templates",
)


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading, in the list of contents."""

    name: str
    """Its anchor in the page, and the name of its template."""
    title: str
    html: Markup
    """What is below the heading; made by `render`, never by joining strings."""


MakeSection = Callable[[RunReport], "Section | None"]
"""A section of a run; None where the run cannot have it. What is not there yet is said in a sentence instead."""


def fill_section(name: str, title: str, **values: Any) -> Section:
    """The section whose template is `report_sections/templates/NAME.html.j2`, filled with `values`."""
    return Section(name, title, render(name, **values))


def render(name: str, **values: Any) -> Markup:
    """A template, filled. `{{ value }}` escapes; `{{ figure(chart) }}` of figures.html.j2 shows a `Chart`.

    A template begins with `{% from "figures.html.j2" import figure, table %}` where it uses these.
    """
    return Markup(environment().get_template(f"{name}.html.j2").render(**values))


@cache
def environment() -> Environment:
    """Jinja2 with everything escaped, and with controls and bidirectional overrides of names spelt out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["json_data"] = json_data
    made.filters["words"] = words
    made.filters["lines"] = lines
    return made


def harmless(value: Any) -> Any:
    """Text with controls spelt out; anything else, markup too, as it is."""
    return printable_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def words(text: str) -> Markup:
    """A sentence of ours, escaped: what stands between backticks is code, and a number stays with its percent sign.

    >>> str(words("`a<b` is 5 %"))
    '<code>a&lt;b</code> is 5\xa0%'
    """
    parts = harmless(text).split("`")
    if len(parts) % 2 == 0:  # a lone one
        return escape(harmless(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else re.sub(r"(?<=[\d\]]) %", "\u00a0%", part)
        for place, part in enumerate(parts)
    )


def lines(texts: Iterable[str]) -> Markup:
    r"""Texts one below the other, for `<pre>`; a newline inside one of them is spelt out.

    >>> print(lines(["a<b", "two\nlines"]))
    a&lt;b
    two\nlines
    """
    return Markup("\n").join(escape(harmless(text)) for text in texts)


def json_data(value: Any) -> Markup:
    r"""JSON for `<script type="application/json">`: nothing in it ends the script, or is a control.

    >>> str(json_data({"name": "</script>\x1b[2K"}))
    '{"name":"\\u003c/script\\u003e\\\\x1b[2K"}'
    """
    text = json.dumps(_harmless_inside(value), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _harmless_inside(value: Any) -> Any:
    if isinstance(value, dict):
        return {harmless(key): _harmless_inside(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless_inside(inner) for inner in value]
    return harmless(value)

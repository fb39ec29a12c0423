"""Whatever a section prints is data: no name ends a tag or a script, or moves a cursor."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from subspace.pipeline.report import section as module
from subspace.pipeline.report.chart import Chart
from subspace.pipeline.report.section import environment, json_data, words

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"' onerror=alert(1) x='",
    "\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "\udcff",
    "`<b>`",
)


class Tags(HTMLParser):
    """All tags, attributes and texts of a page, as a browser would have them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def figure_of(name: str) -> str:
    chart = Chart("c", name, name, name, {"data": {"values": [{"name": name}]}}, [name], [[name, name]])
    source = (
        '{% from "figures.html.j2" import figure %}<p title="{{ name }}">{{ name }}</p>{{ figure(chart) }}'
    )
    return environment().from_string(source).render(chart=chart, name=name)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_data(name: str) -> None:
    harmless, hostile = Tags(figure_of("Ann")), Tags(figure_of(name))
    assert [tag for tag in hostile.tags if tag != "code"] == harmless.tags
    assert [key for key, _ in hostile.attributes] == [key for key, _ in harmless.attributes]
    text = figure_of(name)
    assert not any(character in text for character in "\x1b\x9b\x07\u202e\u2066\udcff")
    spec = next(text for text in hostile.texts if text.startswith('{"width"'))
    assert json.loads(spec)["data"]["values"] == [{"name": module.harmless(name)}]
    assert "<" not in spec


def test_json_has_no_numbers_that_are_none() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_data({"value": float("nan")})


def test_words_are_escaped_around_code_and_in_it() -> None:
    assert words("a<b `c<d` [1, 2] % e` f") == "a&lt;b `c&lt;d` [1, 2] % e` f"
    assert words("a<b `c<d` [1, 2] %") == "a&lt;b <code>c&lt;d</code> [1, 2]\xa0%"

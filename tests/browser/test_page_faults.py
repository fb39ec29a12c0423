"""The checks of pages, on a page that has every fault: a check that finds nothing anywhere is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from browser.page_faults import faults
from browser.system_chromium import OpenPage

FAULTY = """<!doctype html><html lang="en"><title>Faulty</title>
<style>a:focus { outline: none }</style>
<main><h1>One</h1><h3>Three</h3><p id="a">text</p><p id="a" style="color: #aaa">pale</p>
<a href="#nowhere">away</a><img src="data:image/png;base64,AAAA"><div style="width: 3000px">wide</div>
<svg><text y="20" fill="#999">pale in a chart</text><text y="40" fill="#222">strong in a chart</text></svg></main>
<script>console.error("said"); fetch("https://example.com/x").catch(() => 0); undefinedFunction()</script>"""


def test_every_fault_is_found(open_page: Callable[..., OpenPage], tmp_path: Path) -> None:
    (tmp_path / "faulty.html").write_text(FAULTY)
    opened = open_page(tmp_path / "faulty.html")
    found = "\n".join(faults(opened))
    for fault in (
        "wider than the window: 3", "no picture: <img>", "no alternative text", "id twice: a",
        "link to nowhere: #nowhere", "heading out of order: <h3> Three", "contrast 2.85 in a chart: <text> pale",
        "color-contrast: <p id=\"a\" style=\"color: #aaa\"", "focus is not seen: <a href",
    ):  # fmt: skip
        assert fault in found
    assert "strong" not in found
    said = "\n".join(opened.complaints)
    for fault in ("console error: said", "request: https://example.com/x", "exception: undefinedFunction"):
        assert fault in said
    opened.complaints.clear()

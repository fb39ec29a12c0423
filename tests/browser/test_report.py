"""The report of a run in a browser: every section, both themes, desk and phone, map and gallery, keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser.page_faults import faults
from browser.system_chromium import OpenPage

from subspace.pipeline.console import Console
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.all_sections import SECTIONS, report_run


@pytest.fixture(scope="module")
def report(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a tiny run of two rounds, beside itself as its baseline."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    report_run(RunReport.open(finished_run, baseline=finished_run), out, Console(quiet=True))
    return out


def ground(opened: OpenPage) -> str:
    """The colour of the page."""
    return opened.page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_a_report_at_a_desk_in_both_themes(open_page: Callable[..., OpenPage], report: Path) -> None:
    opened = open_page(report).drawn()
    page = opened.page
    assert faults(opened) == []
    sections = page.locator("main > section")
    assert sections.count() == len(SECTIONS)
    assert page.locator("nav li a").count() == len(SECTIONS)
    assert all(len(text.split()) > 12 for text in sections.all_inner_texts())
    charts = page.locator(".plot")
    assert charts.count() >= 10
    assert page.locator(".plot svg").count() == charts.count()
    assert ground(opened) == "rgb(255, 255, 255)"

    page.evaluate("delete document.documentElement.dataset.drawn")
    page.get_by_role("button", name="Dark theme").click()
    assert ground(opened.drawn()) == "rgb(20, 23, 26)"
    assert faults(opened) == []
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("main").is_visible()


def test_a_report_on_a_phone_in_the_dark(open_page: Callable[..., OpenPage], report: Path) -> None:
    opened = open_page(report, 390, 844, dark=True).drawn()
    assert ground(opened) == "rgb(20, 23, 26)"
    assert faults(opened) == []
    assert opened.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_the_map_answers_clicks_keys_and_search(open_page: Callable[..., OpenPage], report: Path) -> None:
    page = open_page(report).drawn().page
    shown, points = page.locator("#map-shown"), page.locator(".point")
    shown.scroll_into_view_if_needed()  # pictures further down are not loaded
    assert points.count() >= 32

    def name_of(place: int) -> str:
        label = page.locator(f'.point[data-point="{place}"]').get_attribute("aria-label")
        return (label or "").rsplit(", subspace", 1)[0]

    def chosen() -> str:
        return shown.locator("h3").inner_text()

    for place in (3, 7):
        page.locator(f'.point[data-point="{place}"]').dispatch_event("click", {"bubbles": True})
        assert chosen() == name_of(place)
        assert (
            shown.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        )
        assert page.locator(".point.chosen").count() == 1
        assert page.locator(".point.near").count() > 0

    neighbour = shown.locator("ol button").first
    name = neighbour.locator(".name").inner_text()
    neighbour.click()
    assert chosen() == name

    page.locator('.point[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    at = int(page.evaluate("document.activeElement.dataset.point"))
    page.keyboard.press("Enter")
    assert chosen() == name_of(at)

    page.get_by_label("Find an identity").fill(name_of(5))
    page.keyboard.press("Enter")
    assert name_of(5) in chosen()

    entry = page.locator(".legend button").first
    entry.click()
    assert entry.get_attribute("aria-pressed") == "true"
    assert 0 < page.locator(".point.dim").count() < points.count()
    entry.click()
    assert page.locator(".point.dim").count() == 0


def test_figures_and_links_open(open_page: Callable[..., OpenPage], report: Path) -> None:
    page = open_page(report).drawn().page
    details = page.locator("details.figures").first
    assert not details.locator("table").is_visible()
    details.locator("summary").click()
    assert details.locator("table").is_visible()
    page.locator("nav li a").last.click()
    page.locator("nav li a[aria-current]").wait_for()
    assert page.evaluate("location.hash") == page.locator("nav li a").last.get_attribute("href")
    assert page.locator("main > section").last.bounding_box()["y"] < 900  # pyright: ignore

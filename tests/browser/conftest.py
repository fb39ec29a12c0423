"""Pages as people have them: opened in the system's Chromium, and faultless when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser.system_chromium import OpenPage, missing, started_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of this folder; it ends with them, since its event loop would be in others' way."""
    lacking = missing()
    if lacking:
        pytest.skip(lacking)
    with started_browser() as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., OpenPage]]:
    """`open_page(file, width, height, dark=...)`; the test fails where a page has complained of anything."""
    opened: list[OpenPage] = []

    def open_one(file: Path, width: int = 1280, height: int = 900, *, dark: bool = False) -> OpenPage:
        opened.append(OpenPage.of(chromium, file, width, height, dark=dark))
        return opened[-1]

    yield open_one
    for one in opened:
        one.page.context.close()
    assert [one.complaints for one in opened] == [[] for _ in opened]

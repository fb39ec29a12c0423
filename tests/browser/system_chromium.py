"""The Chromium of this system, without a window and without a network, and the pages that it has open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OWN_SCHEMES = ("file:", "data:", "blob:", "about:")
"""Addresses of this machine and of the page itself."""


def missing() -> str | None:
    """Why no page can be opened here; None where one can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ModuleNotFoundError:
        return "playwright is missing: pip install playwright"
    if not any(map(shutil.which, NAMES)):
        return "no Chromium on this machine: apt-get install chromium"
    return None


@contextmanager
def started_browser() -> Iterator[Browser]:
    """The browser, until the block ends. Nothing is downloaded: it is the system's."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)))
    # Chromium refuses to put root into its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class OpenPage:
    """A page in a window of its own, and what went wrong in it so far."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of its console, exceptions of its scripts, requests to anywhere, and what did not load."""

    @classmethod
    def of(
        cls, browser: Browser, file: Path, width: int = 1280, height: int = 900, *, dark: bool = False
    ) -> OpenPage:
        """Open a file of this machine as a double click does."""
        context = browser.new_context(
            offline=True,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            has_touch=width < 600,
        )
        opened = cls(context.new_page())
        complaints, page = opened.complaints, opened.page
        page.on(
            "console",
            lambda said: (
                complaints.append(f"console {said.type}: {said.text}")
                if said.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(OWN_SCHEMES) else complaints.append(f"request: {asked.url}")
            ),
        )
        page.on("requestfailed", lambda asked: complaints.append(f"failed: {asked.url[:200]}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.set_default_timeout(300_000)
        page.goto(file.resolve().as_uri())
        return opened

    def drawn(self) -> OpenPage:
        """The page of a report, when all of its charts are drawn."""
        self.page.locator("html[data-drawn]").wait_for(state="attached")
        return self

    def load_pictures(self) -> None:
        """Load every picture, those further down too; what cannot be loaded stays empty."""
        # Not by wait_for_function: it makes code of a string in the page, which a strict policy forbids.
        self.page.evaluate(
            """() => Promise.all([...document.images].map((image) => {
              image.loading = 'eager';
              return image.decode().catch(() => null);
            }))"""
        )

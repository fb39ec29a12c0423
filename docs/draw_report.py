"""Draw the first screen of a report as a browser shows it, in both themes: docs/report-light.png and docs/report-dark.png.

    subspace report runs/demo-subspace --baseline runs/demo-random --out runs/report.html
    python docs/draw_report.py runs/report.html docs

Needs Chromium and playwright. Of the page, the parts named in SHOWN stand one below the other, cut at HEIGHT pixels.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "tests")]
from browser.system_chromium import OpenPage, missing, started_browser  # noqa: E402

WIDTH, HEIGHT, COLOURS = 1280, 660, 128
SHOWN = ("outcome", "identity_map")
"""Sections that are drawn: did it help, and the map of identities."""
MOST_BYTES = 400_000


def main(report: Path, folder: Path) -> None:
    """Write the two pictures, and say how large they are."""
    lacking = missing()
    if lacking:
        sys.exit(lacking)
    with started_browser() as browser:
        for theme in ("light", "dark"):
            opened = OpenPage.of(browser, report, WIDTH, HEIGHT, dark=theme == "dark").drawn()
            opened.load_pictures()
            sheet = Image.new("RGB", (WIDTH, HEIGHT * len(SHOWN)))
            for row, section in enumerate(SHOWN):
                place = opened.page.locator(f"#{section}")
                place.evaluate("(part, first) => scrollTo(0, first ? 0 : part.offsetTop)", row == 0)
                with Image.open(io.BytesIO(opened.page.screenshot())) as shot:
                    sheet.paste(shot, (0, HEIGHT * row))
            out = folder / f"report-{theme}.png"
            sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
            print(f"{out}: {out.stat().st_size:,} bytes")
            if out.stat().st_size > MOST_BYTES or opened.complaints:
                sys.exit(
                    f"{out}: larger than {MOST_BYTES:,} bytes, or the page complains: {opened.complaints}"
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

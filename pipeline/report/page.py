"""The page around the sections: contents, style, themes, script, and Vega, all inline; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from markupsafe import Markup

from ..output_file import mark_of_page, page_of
from .section import TEMPLATES, Section, environment

REPORT_PAGE = page_of("report")
VEGA = Path(__file__).parent / "vega"
LIBRARIES = ("vega", "vega-lite", "vega-embed")
"""In the order in which they need each other."""
THANKS = "Charts by Vega, Vega-Lite and Vega-Embed, © the University of Washington Interactive Data Lab, BSD-3-Clause."


def render_page(name: str, lines: Sequence[str], sections: Sequence[Section]) -> str:
    """The HTML of a report.

    Args:
        name: of the run, below "Report of a run".
        lines: sentences below it.
    """
    library = charts_library()
    script, style = _file("script.js") + _file("pictures.js"), _file("style.css") + _file("pictures.css")
    allowed = " ".join(f"'sha256-{_digest(text)}'" for text in (library, script))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            title=f"{name}: report",
            name=name,
            lines=lines,
            sections=sections,
            policy=policy,
            generator=Markup(mark_of_page("report")),
            style=Markup(style),
            library=Markup(library),
            script=Markup(script),
            footer=f"One file, nothing is loaded from a network. {THANKS}",
        )
    )


@cache
def charts_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of 0.8 MB; `docs/fetch_vega.py` brings them."""
    bundle = "".join((VEGA / f"{name}.min.js").read_text(encoding="utf-8") for name in LIBRARIES)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _file(name: str) -> str:
    return (TEMPLATES[0] / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

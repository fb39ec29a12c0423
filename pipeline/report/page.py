"""The page around the sections: contents, style, themes, script, and Vega, all inline; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache

from markupsafe import Markup

from ...mining.errors import InputError
from .section import TEMPLATES, Section, environment

VEGA = "Charts by Vega, Vega-Lite and Vega-Embed, © the University of Washington Interactive Data Lab, BSD-3-Clause."


def render_page(name: str, lines: Sequence[str], sections: Sequence[Section]) -> str:
    """The HTML of a report.

    Args:
        name: of the run, below "Report of a run".
        lines: sentences below it.

    Raises:
        InputError: vl-convert-python, which brings Vega, is not installed.
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
            style=Markup(style),
            library=Markup(library),
            script=Markup(script),
            footer=f"One file, nothing is loaded from a network. {VEGA}",
        )
    )


@cache
def charts_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of about 0.9 MB, the same bytes each time.

    Raises:
        InputError: vl-convert-python is not installed.
    """
    try:
        from vl_convert import javascript_bundle
    except ModuleNotFoundError as error:
        raise InputError("vl-convert-python is missing: pip install vl-convert-python") from error
    bundle = javascript_bundle()  # pyright: ignore[reportCallIssue]  (its stub alone asks for a snippet)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _file(name: str) -> str:
    return (TEMPLATES[0] / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

"""The page loads nothing, and runs its own two scripts only."""

from __future__ import annotations

import base64
import hashlib
import re

from markupsafe import Markup

from subspace.pipeline.report.page import LIBRARIES, VEGA, charts_library, render_page
from subspace.pipeline.report.section import Section


def test_vega_is_as_npm_has_it() -> None:
    """Whoever reads half a megabyte of minified script: `docs/fetch_vega.py` writes it again, from pinned packages."""
    digest = hashlib.sha256(charts_library().encode()).hexdigest()
    assert digest == "890d4af33fa9c25684527060e28df6aa31f64bda66a204e4df94f0fa1e23db54"
    assert {path.name for path in VEGA.iterdir()} == {
        f"{name}{end}" for name in LIBRARIES for end in (".min.js", ".LICENSE")
    }


def test_nothing_is_loaded_and_two_scripts_run() -> None:
    text = render_page("a <run>", ["its lines"], [Section("one", "One & two", Markup("<p>inside</p>"))])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    own = text.replace(charts_library(), "")
    assert not re.search(r"<(link|iframe|object|embed|base|img)\b|\bsrc=|@import|url\(|https?://", own)
    assert re.findall(r'href="([^"]*)"', own) == ["#content", "#one"]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert set(re.findall(r"sha256-([\w+/=]+)", policy[1].replace("&#43;", "+"))) == hashes
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "unsafe-eval" not in policy[1]
    assert "<title>a &lt;run&gt;: report</title>" in text
    assert '<a href="#one">One &amp; two</a>' in text
    assert "<p>inside</p>" in text

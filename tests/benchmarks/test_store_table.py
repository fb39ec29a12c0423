"""A printed table becomes data, and a page shows it as it was printed."""

from __future__ import annotations

import json
from pathlib import Path

import make_pages
import pytest
import store_table
from make_pages import RESULTS

PRINTED = """some words
| B | ms | ratio |
|---|---|---|
| 512 | 1.5 | **2.0** |
| 1,024 | 6 | "a, b" |
"""


def test_a_stored_table_is_shown_as_it_was_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"command": "python bench.py", "date": "2026-01-01", "hardware": "one core"}
    store_table.main(PRINTED, tmp_path / "own.json", "kernel", made, [])
    store_table.main(PRINTED, tmp_path / "own.json", "kernel", made, ["ms"])
    monkeypatch.setattr(make_pages, "RESULTS", tmp_path)
    assert make_pages.make_table("stored own kernel").splitlines() == [
        "| B | ratio |",
        "|---|---|",
        "| 512 | 2.0 |",
        '| 1,024 | "a, b" |',
        "",
        "*`python bench.py`; 2026-01-01, one core. Left out, since timed beside other work: ms.*",
    ]


def test_another_table_of_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text((RESULTS / "plan.json").read_text())
    before = json.loads(path.read_text())["tables"]
    store_table.main(PRINTED, path, "plans", {"command": "c", "date": "d", "hardware": "h"}, [])
    after = json.loads(path.read_text())["tables"]
    assert after["hubs"] == before["hubs"]
    assert after["plans"]["rows"] == [["512", "1.5", "2.0"], ["1,024", "6", '"a, b"']]
    assert '    ["512", "1.5", "2.0"],\n' in path.read_text(), "a line a row"

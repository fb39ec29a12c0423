"""`subspace index` and `subspace search` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from subspace.pipeline.cli import app


def test_index_change_and_search(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.eye(4, dtype=np.float32))
    index, rows = str(tmp_path / "index"), str(tmp_path / "rows.npy")

    def run(*words: str) -> dict:
        done = CliRunner().invoke(app, [*words, "--json", "--quiet"], catch_exceptions=False)
        return json.loads(done.stdout)

    def name(row: int) -> str:
        return f"{rows}#row={row}"

    assert run("index", rows, "--out", index)["identities"] == 4
    assert run("index", index, "--delete", name(1), "--delete", name(2))["identities"] == 2
    found = run("search", index, rows, "--top", "1", "--threshold", "0.5")["queries"]
    assert [answer["identity"] for answer in found] == [name(0), None, None, name(3)]

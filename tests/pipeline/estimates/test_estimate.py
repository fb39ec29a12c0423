"""What a stage is said to take, beside what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from subspace.pipeline.cli import app
from subspace.pipeline.estimates import estimate
from subspace.pipeline.estimates.estimate import of_memory


@pytest.mark.parametrize(
    ("needed", "free", "words"),
    [
        (9e9, 10**10, "9.0 GB of memory"),
        (9e9, None, "9.0 GB of memory"),
        (9e9, 4 * 10**9, "9.0 GB of memory, more than the 4.0 GB that are free here"),
        (4.1e9, 4 * 10**9, "4.1 GB of memory"),  # of which 200 MB are this process's already
    ],
)
def test_memory_beside_what_is_free(
    needed: float, free: int | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "free_memory", lambda: free)
    monkeypatch.setattr(estimate, "peak_memory", lambda: 200e6)
    assert of_memory(needed) == words


def test_a_dry_run_says_that_memory_is_short(
    small_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "free_memory", lambda: 1000)
    monkeypatch.setattr(estimate, "peak_memory", lambda: 0)
    runner, run = CliRunner(), str(tmp_path / "run")
    made = runner.invoke(app, ["init", run, "--manifest", str(small_manifest), "--model", "small"])
    assert made.exit_code == 0, made.output
    said = runner.invoke(app, ["pretrain", run, "--dry-run"])
    assert said.exit_code == 0
    assert "of memory, more than the 1.0 kB that are free here" in " ".join(said.output.split())

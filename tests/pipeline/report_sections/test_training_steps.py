"""One step axis over all rounds, thinned to what a chart shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import log, made_up_run, train

from subspace.pipeline.report_sections import training_steps as module
from subspace.pipeline.report_sections.training_steps import logged_steps, table_rows


def test_steps_count_on_from_round_to_round(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    train(run.round(0), 20)
    train(run.round(1), 20)
    log(run.round(2), [{"step": 4, "loss": 0.25, "active_fraction": None}])
    steps = logged_steps(run)
    assert steps.rounds == [(0, "round 0"), (20, "round 1"), (40, "round 2")]
    assert steps.ends == {"start": 0, "round 0": 20, "round 1": 40}
    assert steps.points("loss") == [(10, 1.55), (20, 1.05), (30, 1.55), (40, 1.05), (45, 0.25)]
    assert [step for step, _ in steps.points("active_fraction")] == [10, 20, 30, 40]
    assert steps.points("none such") == []


def test_long_logs_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_POINTS", 3)
    run = made_up_run(tmp_path / "run")
    log(run.round(0), [{"step": step, "loss": float(step)} for step in range(6)])
    assert logged_steps(run).points("loss") == [(2, 0.5), (4, 2.5), (6, 4.5)]


def test_a_table_is_short_and_has_both_ends() -> None:
    rows = table_rows({"a": [(step, step / 1000) for step in range(1, 1001)], "b": [(1, 0.5)]})
    assert len(rows) == 20
    assert rows[0] == ["1", "0.001", "0.500"]
    assert rows[-1] == ["1,000", "1.000", ""]

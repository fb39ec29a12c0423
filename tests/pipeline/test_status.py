"""`subspace status`: where the time of a training went."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import subspace

PHASES = ("data", "forward", "loss", "backward", "update")


def phases_of(run: Path) -> dict[str, dict[str, float] | None]:
    done = subspace("status", run, "--json")
    assert done.returncode == 0, done.stderr
    return {f"{Path(s['folder']).name}/{s['stage']}": s["phases"] for s in json.loads(done.stdout)}


def test_phases_of_a_real_training_are_the_sums_of_its_log(finished_run: Path) -> None:
    phases = phases_of(finished_run)
    for name, folder, loss in (
        ("start/pretrain", "start", "loss"),
        ("round-001/train", "round-001", "mine"),
    ):
        lines = [
            json.loads(line) for line in (finished_run / folder / "metrics.jsonl").read_text().splitlines()
        ]
        found = phases[name]
        assert found is not None
        for phase in PHASES:
            total = 0.0
            for line in lines:
                assert line[f"seconds_{phase}"] >= 0
                total += line[f"seconds_{phase}"]
            assert found[loss if phase == "loss" else phase] == pytest.approx(total)
        assert found["checkpoint"] > 0  # saved every 3 of 8 steps
        assert sum(found.values()) == pytest.approx(lines[-1]["seconds"], rel=1e-3)
    assert phases["round-000/extract"] is None


@pytest.mark.parametrize("done", [True, False])
def test_shares_are_shown_of_trainings_done_and_begun(finished_run: Path, tmp_path: Path, done: bool) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    if not done:
        (run / "round-001" / "done" / "train.json").unlink()
    lines: list[dict[str, Any]] = [
        {"step": 1, "seconds": 40.0, "active_fraction": None, "seconds_data": 10.0, "seconds_loss": 5.0},
        {"step": 3, "seconds": 100.0, "active_fraction": 0.5, "seconds_data": 30.0, "seconds_loss": 15.0,
         "seconds_checkpoint": 25.0},
    ]  # fmt: skip
    (run / "round-001" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = subspace("status", run).stdout.splitlines()
    assert "time of round-001/train: data 40%, mine 20%, checkpoint 25%, other 15%" in shown


def test_logs_of_before_phases_were_timed_show_none(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "round-000" / "metrics.jsonl").write_text('{"step": 1, "seconds": 4.0, "active_fraction": 0.5}\n')
    assert phases_of(run)["round-000/train"] is None
    assert "time of round-000/train" not in subspace("status", run).stdout

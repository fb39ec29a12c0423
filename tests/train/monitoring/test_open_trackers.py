"""Trackers: what each one keeps, resuming, and failures that do not stop a training.

Weights & Biases and MLflow are tried for real, offline, where they are installed.

Covers train/monitoring/trackers.py as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from subspace.mining.errors import InputError
from subspace.train.monitoring import open_trackers
from subspace.train.monitoring.open_trackers import Trackers, begin_trackers, check_trackers
from subspace.train.monitoring.trackers import TrackedRun, Tracker

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)


def run_in(folder: Path, first_step: int = 0, fingerprint: str = "f") -> TrackedRun:
    (folder / "photos" / "round-000").mkdir(parents=True, exist_ok=True)
    return TrackedRun(
        folder / "photos" / "round-000", fingerprint, {"seed": 7, "train": {"loss": "batch_ohnm"}}, first_step
    )


def tell(tracker: Tracker, steps: range) -> None:
    for step in steps:
        tracker.scalars(step, {"train/loss": 1 / (step + 1), "train/lr": 0.1})
    tracker.histogram(steps[-1], "similarities/positive", np.linspace(0, 1, 101))
    tracker.image(steps[-1], "hardest_triplets", PIXELS)


def test_tensorboard_shows_all_three_kinds_and_hides_what_is_done_again(tmp_path: Path) -> None:
    for first_step, steps in ((0, range(6)), (3, range(3, 5))):
        trackers = begin_trackers(("tensorboard",), run_in(tmp_path, first_step), pytest.fail)
        tell(trackers, steps)
        trackers.close()
    events = EventAccumulator(str(tmp_path / "photos" / "round-000" / "tensorboard"))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(step, pytest.approx(1 / (step + 1))) for step in range(5)]
    histogram = events.Histograms("similarities/positive")[-1].histogram_value
    assert (histogram.num, histogram.min, histogram.max) == (101, 0, 1)
    image = events.Images("hardest_triplets")[-1]
    assert (image.height, image.width) == PIXELS.shape[:2]


class Recorder:
    """A tracker that fails at one step."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.told: list[Any] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("the server\nis gone")
        self.told.append((step, dict(values)))

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        self.told.append((step, name, values.tolist()))

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        self.told.append((step, name, pixels.shape))

    def close(self) -> None:
        self.told.append("closed")


def test_one_that_fails_is_left_out_with_one_line_and_the_others_go_on() -> None:
    sound, broken, said = Recorder(), Recorder(fails_at=1), []
    trackers = Trackers({"broken": broken, "sound": sound}, said.append)
    for step in range(3):
        trackers.scalars(step, {"loss": 1.0})
    trackers.image(2, "picture", PIXELS)
    trackers.close()
    trackers.close()
    assert sound.told == [*((step, {"loss": 1.0}) for step in range(3)), (2, "picture", (6, 4, 3)), "closed"]
    assert broken.told == [(0, {"loss": 1.0})]
    assert said == ["broken failed (the server is gone); training goes on without it"]


def test_all_trainings_are_on_one_axis_and_nothing_is_told_twice() -> None:
    keeps_all, forgets = Recorder(), Recorder()
    trackers = Trackers({"one": keeps_all, "other": forgets}, pytest.fail, steps_before=100, shown={"one": 1})
    for step in range(3):
        trackers.scalars(step, {"loss": 1.0})
    assert [step for step, _ in keeps_all.told] == [102]
    assert [step for step, _ in forgets.told] == [100, 101, 102]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), RecursionError("too deep")])
def test_whatever_a_tracker_raises_the_training_goes_on(error: Exception) -> None:
    class Failing(Recorder):
        def image(self, step: int, name: str, pixels: np.ndarray) -> None:
            raise error

    said: list[str] = []
    Trackers({"one": Failing()}, said.append).image(0, "picture", PIXELS)
    assert said == [f"one failed ({error}); training goes on without it"]


def test_histograms_are_of_finite_values_and_never_empty() -> None:
    recorder = Recorder()
    trackers = Trackers({"one": recorder}, pytest.fail)
    trackers.histogram(0, "some", np.array([0.5, np.nan, 1.0, -np.inf]))
    trackers.histogram(1, "none", np.array([np.nan]))
    trackers.histogram(2, "empty", np.array([]))
    assert recorder.told == [(0, "some", [0.5, 1.0])]


def test_no_trackers_are_silent(tmp_path: Path) -> None:
    trackers = begin_trackers((), run_in(tmp_path), pytest.fail)
    tell(trackers, range(3))
    trackers.close()
    assert list((tmp_path / "photos" / "round-000").iterdir()) == []


class Service:
    """W&B or MLflow without either: runs by their ids, each with the steps that it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.runs: dict[str, list[int]] = {}
        self.away: set[str] = set()
        monkeypatch.setattr(open_trackers, "check_trackers", lambda names: None)
        for name in names:
            monkeypatch.setattr(open_trackers, name, partial(self.begin, name))

    def begin(self, name: str, run: TrackedRun, run_id: str | None) -> Any:
        if name in self.away:
            raise ConnectionError(f"{name} is away")
        run_id = run_id or f"{name} {len(self.runs)}"
        told = self.runs.setdefault(run_id, [])
        return SimpleNamespace(
            run_id=run_id, scalars=lambda step, values: told.append(step), close=lambda: None
        )


def test_a_training_that_is_killed_twice_before_it_saves_tells_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch, "WeightsAndBiases", "MLflow")
    # saved at 5 alone; metrics.jsonl is cut to where each begins
    for names, first_step, last_shown, end in (
        (("wandb",), 0, -1, 9),
        (("wandb",), 5, 8, 6),
        ((), 5, 5, 7),
        (("wandb", "mlflow"), 5, 6, 8),
        (("wandb", "mlflow"), 5, 7, 12),
    ):
        run = replace(run_in(tmp_path, first_step), last_shown=last_shown)
        trackers = begin_trackers(names, run, pytest.fail)
        for step in range(first_step, end):
            trackers.scalars(step, {"train/loss": 1.0})
        trackers.close()
    assert service.runs == {"WeightsAndBiases 0": list(range(12)), "MLflow 1": list(range(5, 12))}


def test_a_run_that_began_goes_on_though_another_tracker_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch, "WeightsAndBiases", "MLflow")
    service.away.add("MLflow")
    for _ in range(2):
        with pytest.raises(InputError, match="mlflow cannot begin"):
            begin_trackers(("wandb", "mlflow"), run_in(tmp_path), pytest.fail)
    service.away.clear()
    begin_trackers(("wandb", "mlflow"), run_in(tmp_path), pytest.fail).close()
    assert list(service.runs) == ["WeightsAndBiases 0", "MLflow 1"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed; `pip install {name}") as caught:
        begin_trackers(("tensorboard", name), run_in(tmp_path), pytest.fail)
    assert "\n" not in str(caught.value)


def test_the_folder_that_wandb_leaves_behind_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(InputError, match="wandb is not installed"):
        check_trackers(("wandb",))


@pytest.fixture
def offline_wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    wandb = pytest.importorskip("wandb")
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield wandb
    wandb.teardown()


def wandb_ids(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[-1] for path in folder.glob("wandb/offline-run-*"))


def test_wandb_offline_keeps_one_run_through_a_resume(tmp_path: Path, offline_wandb: Any) -> None:
    folder = tmp_path / "photos" / "round-000"
    for first_step in (0, 3):
        trackers = begin_trackers(("wandb",), run_in(tmp_path, first_step), pytest.fail)
        tell(trackers, range(first_step, first_step + 3))
        trackers.close()
    kept = json.loads((folder / "trackers.json").read_text())
    assert set(wandb_ids(folder)) == {kept["ids"]["wandb"]}
    assert len(list(folder.glob("wandb/**/hardest_triplets*.png"))) == 2
    begin_trackers(("wandb",), run_in(tmp_path, 0, "another"), pytest.fail).close()
    assert len(set(wandb_ids(folder))) == 2


def test_wandb_that_cannot_log_in_is_one_line(
    tmp_path: Path, offline_wandb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "short")  # refused before anything is sent
    with pytest.raises(InputError, match=r"tracker wandb cannot begin.*WANDB_MODE=offline") as caught:
        begin_trackers(("wandb",), run_in(tmp_path), pytest.fail)
    assert "\n" not in str(caught.value)


@pytest.fixture
def mlflow_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    return mlflow.MlflowClient(f"sqlite:///{tmp_path / 'photos' / 'mlflow.db'}")


def test_mlflow_keeps_one_run_through_a_resume(tmp_path: Path, mlflow_client: Any) -> None:
    for first_step in (0, 3):
        trackers = begin_trackers(("mlflow",), run_in(tmp_path, first_step), pytest.fail)
        tell(trackers, range(first_step, first_step + 3))
        trackers.close()
    [run] = mlflow_client.search_runs([mlflow_client.get_experiment_by_name("photos").experiment_id])
    assert (run.info.run_name, run.info.status) == ("round-000", "FINISHED")
    assert run.data.params == {"seed": "7", "train.loss": "batch_ohnm"}
    history = mlflow_client.get_metric_history(run.info.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(s, 1 / (s + 1)) for s in range(6)]
    assert run.data.metrics["similarities/positive/p05"] == pytest.approx(0.05)
    assert run.data.metrics["similarities/positive/p50"] == pytest.approx(0.5)
    assert len(list((tmp_path / "photos" / "mlartifacts").rglob("hardest_triplets*.png"))) == 2
    assert not (tmp_path / "mlruns").exists()


def test_mlflow_takes_every_figure_of_a_round(tmp_path: Path, mlflow_client: Any) -> None:
    """It refused names with @ and =, and with one of them all figures of that moment."""
    trackers = begin_trackers(("mlflow",), run_in(tmp_path), pytest.fail)
    trackers.scalars(3, {"test/Rank-1": 0.5, "test/TAR@FAR=1e-3": 0.25, "subspaces/r@10": 0.75})
    trackers.close()
    [run] = mlflow_client.search_runs([mlflow_client.get_experiment_by_name("photos").experiment_id])
    names = {"test/Rank-1": 0.5, "test/TAR at FAR 1e-3": 0.25, "subspaces/r at 10": 0.75}
    assert {name: run.data.metrics[name] for name in names} == names


def test_mlflow_that_lost_its_run_is_one_line(tmp_path: Path, mlflow_client: Any) -> None:
    begin_trackers(("mlflow",), run_in(tmp_path), pytest.fail).close()
    (tmp_path / "photos" / "mlflow.db").unlink()
    with pytest.raises(InputError, match=r"mlflow cannot begin.*remove .*trackers\.json") as caught:
        begin_trackers(("mlflow",), run_in(tmp_path, 3), pytest.fail)
    assert "\n" not in str(caught.value)

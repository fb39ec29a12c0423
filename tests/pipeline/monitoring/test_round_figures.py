"""Figures of every round: which there are, where on the axis, once each, replaced where a stage was made again.

Covers pipeline/monitoring/training_curves.py and pipeline/monitoring/mean_projector.py, too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import parquet_writer
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.monitoring.mean_projector import SPRITE, write_projector
from subspace.pipeline.monitoring.round_figures import show_round
from subspace.pipeline.monitoring.training_curves import identity_names, open_log
from subspace.pipeline.run_directory import RunDirectory
from subspace.train.monitoring import open_trackers
from subspace.train.monitoring.metrics_file import read_metrics
from subspace.train.monitoring.phase_clock import Phases
from subspace.train.monitoring.trackers import TrackedRun
from subspace.train.step_record import StepRecord
from subspace.train.training_config import LoaderConfig


def events_of(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def summary(run: RunDirectory, index: int, stage: str) -> dict[str, float]:
    return run.round(index).record(stage)["summary"]


def test_a_run_shows_its_rounds_on_one_axis(finished_run: Path) -> None:
    run = RunDirectory(finished_run)
    start = summary(run, -1, "pretrain")["steps"]
    ends = np.cumsum([start, *(summary(run, index, "train")["steps"] for index in (0, 1))]).tolist()
    rounds = events_of(run.tracked / "tensorboard")
    points = {
        tag: [(event.step, event.value) for event in rounds.Scalars(tag)] for tag in rounds.Tags()["scalars"]
    }
    assert points["batches/hardness"] == [
        (ends[index], pytest.approx(summary(run, index, "plan")["hardness"])) for index in (0, 1)
    ]
    assert points["subspaces/r@10"] == [
        (ends[index], pytest.approx(summary(run, index, "cluster")["recall@10"])) for index in (0, 1)
    ]
    for group, stage in (("validation", "validate"), ("test", "eval")):
        assert points[f"{group}/Rank-1"] == [
            (ends[index + 1], pytest.approx(summary(run, index, stage)["Rank-1"])) for index in (-1, 0, 1)
        ]
    assert any(tag.startswith("test/TAR@FAR") for tag in points)  # so few validation identities have no TAR

    for index in (0, 1):
        training = events_of(run.round(index).path / "tensorboard")
        lines = read_metrics(run.round(index).metrics)
        for tag, key in (("cosines/positive", "cosine_positive"), ("cosines/active_images", "active_images"),
                         ("train/loss", "loss"), ("time/forward", "seconds_forward")):  # fmt: skip
            told = [(event.step, event.value) for event in training.Scalars(tag)]
            assert told == [(ends[index] + line["step"], pytest.approx(line[key])) for line in lines]
        shown = [event.step - ends[index] for event in training.Images("hardest_triplets")]
        steps = summary(run, index, "train")["steps"]
        assert shown == sorted({0, steps // 2, steps - 1})


def test_the_projector_has_the_names_and_a_picture_of_each(finished_run: Path) -> None:
    folder = RunDirectory(finished_run).tracked / "tensorboard"
    (names,) = folder.glob("*/*/metadata.tsv")
    count = len(names.read_text().splitlines())
    table = np.loadtxt(names.with_name("tensors.tsv"))
    assert len(table) == count > 1
    assert np.linalg.norm(table, axis=1) == pytest.approx(1, abs=1e-5)
    assert Image.open(names.with_name("sprite.png")).width % SPRITE == 0
    assert names.parent.name in (folder / "projector_config.pbtxt").read_text().replace("\\", "")


def test_figures_are_shown_once_and_replaced_where_a_stage_was_made_again(
    finished_run: Path, tmp_path: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(finished_run, tmp_path / "run")))
    folder = run.round(0)
    begins = int(summary(run, -1, "pretrain")["steps"])
    ends = begins + int(summary(run, 0, "train")["steps"])

    def show() -> list[tuple[int, float]]:
        show_round(run, folder, (begins, ends), ("tensorboard",), {}, pytest.fail)
        scalars = events_of(run.tracked / "tensorboard").Scalars("batches/hardness")
        return [(event.step, round(event.value, 3)) for event in scalars]

    before = show()
    assert show() == before
    marker = json.loads(folder.marker("plan").read_text())
    marker["fingerprint"], marker["summary"]["hardness"] = "another", 0.125
    folder.marker("plan").write_text(json.dumps(marker))
    again = show()
    assert sorted(step for step, _ in again) == sorted(step for step, _ in before)
    assert (begins, 0.125) in again


class AwayForAMoment:
    """W&B, which does not take the first figures that it is told."""

    def __init__(self) -> None:
        self.begun, self.told, self.fails = 0, [], 0

    def begin(self, run: TrackedRun, run_id: str | None) -> Any:
        self.begun += 1
        if self.begun == 1:
            raise ConnectionError("no network")
        self.fails = self.begun == 2
        return SimpleNamespace(run_id="7f", scalars=self.scalars, close=lambda: None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self.fails:
            raise ConnectionError("no network")
        self.told.append((step, dict(values)))


def test_figures_are_told_again_where_a_tracker_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, said = AwayForAMoment(), []
    monkeypatch.setattr(open_trackers, "check_trackers", lambda names: None)
    monkeypatch.setattr(open_trackers, "WeightsAndBiases", service.begin)
    monkeypatch.setattr(
        open_trackers, "MLflow", lambda *_: SimpleNamespace(run_id="7f")
    )  # takes no figures, ever
    run = RunDirectory(tmp_path / "run")
    marker = {
        "stage": "plan",
        "fingerprint": "f",
        "fields": {},
        "seconds": 1.0,
        "finished": "now",
        "files": {},
    }
    run.round(0).marker("plan").parent.mkdir(parents=True)
    run.round(0).marker("plan").write_text(json.dumps({**marker, "summary": {"batches": 4, "hardness": 0.5}}))
    for _ in range(4):
        show_round(run, run.round(0), (10, 20), ("tensorboard", "mlflow", "wandb"), {}, said.append)
    said = [one for one in said if "mlflow" not in one]  # which keeps nobody else's figures back
    assert len(said) == 2
    assert said[0].startswith("figures of the round are not shown yet: tracker wandb cannot begin")
    assert said[1].startswith("wandb failed (no network)")
    assert (service.begun, service.told) == (3, [(10, {"batches/hardness": 0.5})])
    events = events_of(run.tracked / "tensorboard").Scalars("batches/hardness")
    assert [(event.step, event.value) for event in events] == [(10, 0.5)]


def test_a_training_that_is_killed_before_it_saves_tells_no_line_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    tracker = SimpleNamespace(run_id="7f", scalars=lambda step, values: told.append(step), close=lambda: None)
    monkeypatch.setattr(open_trackers, "check_trackers", lambda names: None)
    monkeypatch.setattr(open_trackers, "MLflow", lambda run, run_id: tracker)
    folder = RunDirectory(tmp_path).round(0)
    folder.path.mkdir()
    loss: Any = SimpleNamespace(class_vectors=None)
    for step, end in ((0, 5), (0, 9), (4, 6), (4, 12)):  # two are killed before the first save, two after it
        log = open_log(
            folder, "f", {"pretrain": {"steps": 100}}, LoaderConfig(trackers=("mlflow",)), loss, step=step, steps=12,
            rounds_before=0, phases=Phases(), names_of=None, say=pytest.fail,
        )  # fmt: skip
        for at in range(step, end):
            log.add(StepRecord(at, lr=0.1, images=8, bad=[], loss=torch.tensor(1.0), statistics=None))
            log.write()
        log.close()
    assert told == list(range(100, 112))


def test_names_that_would_move_the_cursor_are_spelt_out(small_manifest: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(small_manifest)
    names = pa.array([f"Ann\x1b[2K\n{one}" for one in table["identity_id"].to_pylist()])
    table = table.set_column(
        table.column_names.index("identity"),
        table.schema.field("identity"),
        names.cast(table.schema.field("identity").type),
    )
    third = len(table) // 3
    with parquet_writer(tmp_path / "hostile.parquet", MANIFEST, table.schema, "0" * 32) as writer:
        for first in (0, third, 2 * third):
            writer.write_table(table.slice(first, third if first < 2 * third else None))
    manifest = Manifest.open(tmp_path / "hostile.parquet")
    image_id = np.array([len(table) - 1, 0, 1, len(table) // 2])
    expected = [f"Ann\\x1b[2K\\n{one}" for one in table["identity_id"].to_numpy()[image_id]]
    assert identity_names(manifest, image_id) == expected
    assert "table" not in vars(manifest)


def test_too_many_identities_are_drawn_by_seed(
    small_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subspace.pipeline.monitoring.mean_projector.MOST_SHOWN", 5)
    manifest = Manifest.open(small_manifest)
    image_id = np.arange(len(manifest))
    rows = np.random.default_rng(0).normal(size=(len(image_id), 8)).astype(np.float32)
    names = []
    for seed in (0, 0, 1):
        write_projector(tmp_path, rows, image_id, manifest, seed=seed, name="start")
        (table,) = tmp_path.glob("*/*/metadata.tsv")
        names.append(table.read_text().splitlines())
    assert len(names[0]) == 5
    assert names[0] == names[1] != names[2]
    assert not list(tmp_path.glob("events.*"))

"""metrics.jsonl: averages of a window, whole lines, cut back where a training resumes.

Covers train/monitoring/metrics_file.py as well.
"""

from __future__ import annotations

import json
import math
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from subspace.train.data.batches import ImageBatch
from subspace.train.data.images import BadImage
from subspace.train.losses.loss import TripletStatistics
from subspace.train.monitoring.batch_cosines import cosines_of_batch
from subspace.train.monitoring.metrics_file import mean_over_steps, read_metrics
from subspace.train.monitoring.metrics_log import MetricsLog, curve_of, in_words
from subspace.train.monitoring.open_trackers import begin_trackers
from subspace.train.monitoring.phase_clock import Phases
from subspace.train.monitoring.pictures import HardestTriplets
from subspace.train.monitoring.trackers import TrackedRun
from subspace.train.step_record import StepRecord


def record(
    step: int, loss: float | None = 1.0, statistics: tuple[float, ...] | None = (0.5, 1, 2)
) -> StepRecord:
    bad = [BadImage(step, "damaged")] if step % 2 else []
    return StepRecord(
        step,
        lr=0.1 * (step + 1),
        images=10,
        bad=bad,
        loss=None if loss is None else torch.tensor(loss),
        statistics=TripletStatistics(*map(torch.tensor, statistics))
        if loss is not None and statistics
        else None,
    )


@contextmanager
def log_of(folder: Path, first_step: int = 0) -> Iterator[MetricsLog]:
    run = TrackedRun(folder, "f", {}, first_step)
    log = MetricsLog(folder, first_step, begin_trackers(("tensorboard",), run, pytest.fail), Phases(), 0)
    try:
        yield log
    finally:
        log.close()


def write_steps(folder: Path, first_step: int, steps: range, every: int = 2) -> None:
    with log_of(folder, first_step) as log:
        for step in steps:
            log.add(record(step))
            if (step + 1) % every == 0:
                log.write()


def test_a_line_averages_the_steps_of_its_window(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        for step, loss, active in ((0, 1.0, 0.2), (1, 3.0, 0.4), (2, None, 0.0)):
            log.add(record(step, loss, (active, loss or 0, 2.0)))
        written = log.write()
        log.add(record(3, 7.0))
        log.write()
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert first == written
    for name, value in {
        "step": 2,
        "loss": 2,
        "active_fraction": 0.3,
        "d_ap": 2,
        "d_an": 2,
        "lr": 0.3,
    }.items():
        assert first[name] == pytest.approx(value), name
    assert first["unreadable"] == 1
    assert {"images_per_second", "seconds"} <= set(first)
    assert (second["step"], second["loss"], second["unreadable"]) == (3, 7, 1)
    assert second["seconds"] >= first["seconds"]


def test_what_is_not_known_is_null_and_json_is_strict(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        log.add(record(0, loss=None))
        log.write()
        log.add(record(1, loss=0.0, statistics=(math.nan, math.nan, math.nan)))
        log.write()
        log.add(record(2, loss=0.5, statistics=None))
        log.write()
    strict = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["loss"] for line in strict] == [None, 0, 0.5]
    assert [line["active_fraction"] for line in strict] == [None, None, None]


def test_every_line_is_readable_at_once(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        for step in range(3):
            log.add(record(step))
            log.write()
            assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == list(
                range(step + 1)
            )


@pytest.mark.parametrize("resumed_at", [0, 1, 4, 6, 10, 12])
@pytest.mark.parametrize("half_a_line", ["", '{"step": 11, "lo', "{"])
def test_a_resumed_training_drops_the_lines_of_steps_that_it_repeats(
    tmp_path: Path, resumed_at: int, half_a_line: str
) -> None:
    write_steps(tmp_path, 0, range(10))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(half_a_line)
    before = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in before] == [1, 3, 5, 7, 9]

    write_steps(tmp_path, resumed_at, range(resumed_at, 14))

    after = read_metrics(tmp_path / "metrics.jsonl")
    kept = [line for line in before if line["step"] < resumed_at]
    assert after[: len(kept)] == kept
    new = [step for step in range(resumed_at, 14) if step % 2 == 1]
    assert [line["step"] for line in after[len(kept) :]] == new
    seconds = [line["seconds"] for line in after]
    assert seconds == sorted(seconds)  # the clock goes on where it was


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    write_steps(tmp_path, 0, range(4))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in ("loss", "active_fraction", "d_ap", "d_an", "lr", "images_per_second"):
        told = [(event.step, event.value) for event in events.Scalars(curve_of(name))]
        lines = [(line["step"], line[name]) for line in read_metrics(tmp_path / "metrics.jsonl")]
        assert told == [(step, pytest.approx(value)) for step, value in lines]


class Notebook:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.closed = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.told += [(step, name) for name in values]

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        self.told.append((step, f"{name} of {len(values)}"))

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        self.told.append((step, f"{name} {pixels.dtype}"))

    def close(self) -> None:
        self.closed = True


def with_batch(step: int, labels: list[int]) -> StepRecord:
    random = torch.Generator().manual_seed(step)
    b = len(labels)
    images = torch.randint(0, 256, (b, 3, 8, 8), dtype=torch.uint8, generator=random)
    return replace(
        record(step),
        embeddings=torch.randn(b, 4, generator=random),
        labels=torch.tensor(labels),
        batch=ImageBatch(step, np.arange(b), images, []),
    )


def test_a_batch_is_shown_every_so_many_steps(tmp_path: Path) -> None:
    notebook, phases = Notebook(), Phases()
    log = MetricsLog(tmp_path, 0, notebook, phases, pictures_every=3)
    for step in range(7):
        log.add(with_batch(step, [0, 0, 1, 1, 1]))
    shown = ["similarities/positive of 4", "similarities/negative of 6", "hardest_triplets uint8"]
    assert notebook.told == [(step, name) for step in (2, 5) for name in shown]
    assert log.write()["seconds_pictures"]
    log.close()
    assert notebook.closed


def test_a_short_training_shows_its_first_middle_and_last_step_with_names(tmp_path: Path) -> None:
    notebook, asked = Notebook(), []
    log = MetricsLog(
        tmp_path, 0, notebook, Phases(), 500, pictures_at=(0, 3, 6),
        names_of=lambda image_id: asked.append(image_id.tolist()) or ["Ann"] * len(image_id),
    )  # fmt: skip
    for step in range(7):
        log.add(with_batch(step, [0, 0, 1, 1, 1]))
    log.close()
    assert [step for step, name in notebook.told if name.startswith("hardest")] == [0, 3, 6]
    assert len(asked) == 3


def test_only_the_images_that_are_drawn_are_named_each_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[int], Mapping[int, str]]] = []

    def picture(
        images: Any, image_id: Any, triplets: HardestTriplets, names: Mapping[int, str]
    ) -> np.ndarray:
        drawn.append((torch.cat(triplets.rows).tolist(), names))
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr("subspace.train.monitoring.metrics_log.triplet_picture", picture)
    log = MetricsLog(
        tmp_path,
        0,
        Notebook(),
        Phases(),
        1,
        names_of=lambda image_id: [f"of image {one}" for one in image_id],
    )
    one = with_batch(0, [0, 1, 2, 3, 4, 4, 5, 6])
    log.add(replace(one, batch=replace(one.batch, image_id=np.arange(8) * 11)))
    log.close()
    [(rows, names)] = drawn
    assert len(rows) == 3  # one identity has a pair
    assert names == {row: f"of image {row * 11}" for row in rows}


def test_a_line_has_the_cosines_of_its_last_batch(tmp_path: Path) -> None:
    notebook = Notebook()
    log = MetricsLog(tmp_path, 0, notebook, Phases(), 0, class_vectors=lambda labels: torch.eye(4)[labels])
    log.add(with_batch(0, [0, 0, 1]))
    log.add(last := with_batch(1, [0, 0, 1, 1]), ends_a_line=True)
    written = log.write()
    expected = cosines_of_batch(last.embeddings, last.labels, torch.eye(4)[last.labels])
    for name, value in expected._asdict().items():
        assert written[name] == pytest.approx(float(value)), name
    assert {(1, "cosines/positive"), (1, "cosines/active_images"), (1, "time/seconds")} <= set(notebook.told)
    log.add(with_batch(2, [0, 0, 1, 1]))
    assert log.write()["cosine_positive"] is None  # a line that was not foreseen
    log.close()


def test_without_pictures_nothing_is_shown(tmp_path: Path) -> None:
    notebook = Notebook()
    log = MetricsLog(tmp_path, 0, notebook, Phases(), pictures_every=0)
    log.add(with_batch(0, [0, 0, 1]))
    log.close()
    assert notebook.told == []


def test_batches_without_triplets_or_images_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    notebook = Notebook()
    log = MetricsLog(tmp_path, 0, notebook, Phases(), pictures_every=1)
    log.add(record(0, loss=None))  # too few images: there is no batch
    log.add(with_batch(1, [0, 1, 2]))
    log.close()
    assert notebook.told == [(1, "similarities/positive of 0"), (1, "similarities/negative of 3")]


def test_a_window_keeps_no_batches(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0, Notebook(), Phases(), pictures_every=1)
    one = with_batch(0, [0, 0, 1])
    embeddings, images = weakref.ref(one.embeddings), weakref.ref(one.batch)
    log.add(one)
    del one
    assert embeddings() is None
    assert images() is None
    log.close()


def test_seconds_of_a_window_are_those_of_its_phases(tmp_path: Path) -> None:
    phases = Phases()
    log = MetricsLog(tmp_path, 0, Notebook(), phases, 0)
    for step, pause in enumerate((0.02, 0.03, 0.01)):
        with phases("forward"):
            time.sleep(pause)
        log.add(record(step))
        if step:
            log.write()
    log.close()
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert 0.05 <= first["seconds_forward"] <= first["seconds"] + 0.0005  # which is rounded to a thousandth
    assert second["seconds_forward"] >= 0.01
    assert first["seconds_forward"] + second["seconds_forward"] <= second["seconds"] + 0.0005


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1')
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_column_is_averaged_over_steps_not_over_lines() -> None:
    lines = [
        {"step": 1, "active_fraction": 0.5},
        {"step": 7, "active_fraction": None},
        {"step": 11, "active_fraction": 0.2},
    ]
    assert mean_over_steps(lines, "active_fraction") == pytest.approx((2 * 0.5 + 4 * 0.2) / 6)
    assert mean_over_steps(lines[1:2], "active_fraction") is None


def test_a_line_in_words() -> None:
    line = {"loss": 0.25, "active_fraction": None, "lr": 0.016, "images_per_second": 1234.4}
    assert in_words(line) == "loss 0.250, lr 1.6e-02, 1,234 images/s"
    mined = in_words({**line, "active_fraction": 0.5, "d_ap": 0.4, "d_an": 1.1})
    assert mined == "loss 0.250, active 50%, d_ap 0.40, d_an 1.10, lr 1.6e-02, 1,234 images/s"
    assert in_words({**line, "loss": None}).startswith("no loss")
    assert in_words({**line, "active_images": 0.5}).startswith("loss 0.250, 50% of images active, lr")

"""metrics.jsonl and trackers: the same numbers for programs and for eyes, and pictures of a batch now and then."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...mining.artifacts import write_text
from ...mining.randomness import generator
from ..devices import numbers_of
from ..losses.loss import TripletStatistics
from ..step_record import StepRecord
from .batch_cosines import BatchCosines, batch_cosines
from .metrics_file import whole_lines
from .phase_clock import Phases
from .pictures import hardest_triplets, pair_similarities, triplet_picture
from .trackers import Tracker

TRIPLETS_SHOWN = 8
AVERAGED = ("loss", *TripletStatistics._fields, "d_all")
"""Columns that are means over the steps of a line."""
LOOKED_AT = BatchCosines._fields
"""Columns that are of the last batch of a line."""
COSINES, TIME = "cosines/", "time/"
"""Groups of curves; all others are in `train/`."""


class MetricsLog:
    """Averages step records over a window and appends one JSON object per window.

    Args:
        folder: gets `metrics.jsonl`.
        first_step: the step that training (re)starts at; lines of later steps, written by a process that
            was killed before its next checkpoint, are dropped.
        tracker: gets every line; closed with the log.
        phases: the seconds of each go into every line, as `seconds_PHASE`; gets `pictures` for those drawn here.
        pictures_every: steps between looks at a batch, for the tracker alone; 0: none.
        pictures_at: more steps at which to look, by their numbers, so that a short training shows some, too.
        class_vectors: of the loss, labels int[B] to the vectors of their classes; None: it has none.
        names_of: image ids to the names of their identities, for pictures.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        tracker: Tracker,
        phases: Phases,
        pictures_every: int,
        *,
        pictures_at: Collection[int] = (),
        class_vectors: Callable[[Tensor], Tensor | None] | None = None,
        names_of: Callable[[np.ndarray], list[str]] | None = None,
    ) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in whole_lines(self.path) if (line[1]["step"] or 0) < first_step]
        write_text(self.path, "".join(text + "\n" for text, _ in kept))
        self._seconds_before = (kept[-1][1].get("seconds") or 0.0) if kept else 0.0
        self._tracker, self._phases, self._pictures_every = tracker, phases, pictures_every
        self._pictures_at = frozenset(pictures_at) if pictures_every else frozenset[int]()
        self._class_vectors, self._names_of = class_vectors, names_of
        self._seen: BatchCosines | None = None
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (held for the whole training)
        self._started = self._window_started = time.monotonic()
        self._window: list[StepRecord] = []

    def add(self, record: StepRecord, ends_a_line: bool = False) -> None:
        """Add one step to the window, and show its batch where it is time for that.

        Args:
            ends_a_line: whether `write` comes next; then this batch is looked at.
        """
        every = self._pictures_every
        if every and ((record.step + 1) % every == 0 or record.step in self._pictures_at):
            with self._phases("pictures"):
                self._show(record)
        if ends_a_line and record.embeddings is not None and record.labels is not None:
            with self._phases("log"):
                vectors = self._class_vectors(record.labels) if self._class_vectors else None
                self._seen = batch_cosines(record.embeddings, record.labels, vectors)
        # a window of batches would be a lot of memory
        self._window.append(replace(record, embeddings=None, labels=None, batch=None))

    def write(self) -> dict[str, float | int | None]:
        """Write the window as one line, begin the next, and return what was written."""
        learned = [record for record in self._window if record.loss is not None]
        statistics = [record.statistics for record in learned if record.statistics is not None]
        seen = [[value] for value in self._seen] if self._seen else [[] for _ in LOOKED_AT]
        shown = _means(
            [
                [record.loss for record in learned if record.loss is not None],
                *([getattr(own, name) for own in statistics] for name in TripletStatistics._fields),
                [record.distance for record in learned if record.distance is not None],
                *seen,
            ]
        )  # a GPU is done with the window's work by now
        now = time.monotonic()
        images = sum(record.images for record in self._window)
        values: dict[str, float | int | None] = {
            "step": self._window[-1].step,
            **dict(zip((*AVERAGED, *LOOKED_AT), shown, strict=True)),
            "lr": self._window[-1].lr,
            "images_per_second": round(images / max(1e-9, now - self._window_started), 1),
            "seconds": round(self._seconds_before + now - self._started, 3),
            "unreadable": sum(record.unreadable for record in self._window),
            **{f"seconds_{name}": round(seconds, 6) for name, seconds in self._phases.take().items()},
        }
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        curves = {curve_of(name): v for name, v in values.items() if name != "step" and v is not None}
        self._tracker.scalars(self._window[-1].step, curves)
        self._window.clear()
        self._seen = None
        self._window_started = now
        return values

    def write_the_rest(self) -> None:
        """Write the window as one line, if it holds a step."""
        if self._window:
            self.write()

    def close(self) -> None:
        """Close the file and the tracker."""
        self._file.close()
        self._tracker.close()

    def _show(self, record: StepRecord) -> None:
        if record.embeddings is None or record.labels is None:
            return
        random = generator(record.step, "pictures")
        similarities = pair_similarities(record.embeddings, record.labels, random)
        self._tracker.histogram(record.step, "similarities/positive", similarities.positive)
        self._tracker.histogram(record.step, "similarities/negative", similarities.negative)
        if record.batch is None:
            return
        n = len(record.batch.images)
        triplets = hardest_triplets(record.embeddings[:n], record.labels[:n], TRIPLETS_SHOWN)
        if len(triplets.d_ap):
            image_id = record.batch.image_id
            names = None if self._names_of is None else self._names_of(image_id)
            picture = triplet_picture(record.batch.images.cpu().numpy(), image_id, triplets, names)
            self._tracker.image(record.step, "hardest_triplets", picture)

    @property
    def waiting(self) -> int:
        """Steps in the window that are not written yet."""
        return len(self._window)


def curve_of(name: str) -> str:
    """The curve that a column of metrics.jsonl is: cosines and times are in groups of their own.

    >>> [curve_of(name) for name in ("loss", "cosine_positive", "seconds_forward", "seconds", "images_per_second")]
    ['train/loss', 'cosines/positive', 'time/forward', 'time/seconds', 'time/images_per_second']
    """
    if name in LOOKED_AT:
        return COSINES + name.removeprefix("cosine_")
    if name.startswith("seconds") or name == "images_per_second":
        return TIME + name.removeprefix("seconds_")
    return f"train/{name}"


def _means(columns: list[list[Tensor]]) -> list[float | None]:
    """The mean of the finite scalars of each column, None where it has none; all are read in one copy."""
    values = iter(numbers_of([scalar for column in columns for scalar in column]))
    finite = [[value for value in islice(values, len(column)) if math.isfinite(value)] for column in columns]
    return [sum(column) / len(column) if column else None for column in finite]


def in_words(values: Mapping[str, Any]) -> str:
    """A line of the log for the progress line: loss, triplets, rate."""
    parts = [f"loss {values['loss']:.3f}" if values["loss"] is not None else "no loss"]
    if values["active_fraction"] is not None:
        parts += [
            f"active {values['active_fraction']:.0%}",
            f"d_ap {values['d_ap']:.2f}",
            f"d_an {values['d_an']:.2f}",
        ]
    elif values.get("active_images") is not None:
        parts.append(f"{values['active_images']:.0%} of images active")
    return ", ".join([*parts, f"lr {values['lr']:.1e}", f"{values['images_per_second']:,.0f} images/s"])

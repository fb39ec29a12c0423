"""metrics.jsonl and trackers: the same numbers for programs and for eyes, and pictures of a batch now and then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...mining.artifacts import write_text
from ...mining.randomness import generator
from ..losses.loss import TripletStatistics
from ..step_record import StepRecord
from .batch_cosines import BatchCosines, cosines_of_batch
from .line_window import LineWindow
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
        window: the steps before `first_step` that no line has yet; None: there are none.
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
        window: LineWindow | None = None,
        pictures_at: Collection[int] = (),
        class_vectors: Callable[[Tensor], Tensor | None] | None = None,
        names_of: Callable[[np.ndarray], list[str]] | None = None,
    ) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in whole_lines(self.path) if (line[1]["step"] or 0) < first_step]
        write_text(self.path, "".join(text + "\n" for text, _ in kept))
        self._seconds = (kept[-1][1].get("seconds") or 0.0) if kept else 0.0
        self._tracker, self._phases, self._pictures_every = tracker, phases, pictures_every
        self._pictures_at = frozenset(pictures_at) if pictures_every else frozenset[int]()
        self._class_vectors, self._names_of = class_vectors, names_of
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (held for the whole training)
        self._window = window or LineWindow()
        self._window.start(phases)

    def add(self, record: StepRecord, ends_a_line: bool = False) -> None:
        """Add one step to the window, and show its batch where it is time for that.

        Args:
            ends_a_line: whether `write` comes next; then this batch is looked at.
        """
        every = self._pictures_every
        if every and ((record.step + 1) % every == 0 or record.step in self._pictures_at):
            with self._phases("pictures"):
                self._show(record)
        seen: BatchCosines | None = None
        if ends_a_line and record.embeddings is not None and record.labels is not None:
            with self._phases("log"):
                vectors = self._class_vectors(record.labels) if self._class_vectors else None
                seen = cosines_of_batch(record.embeddings, record.labels, vectors)
        self._step, self._lr = record.step, record.lr
        counts = {"images": record.images, "unreadable": record.unreadable}
        self._window.add({**_measured(record), **(seen._asdict() if seen else {})}, counts)

    def write(self) -> dict[str, float | int | None]:
        """Write the window as one line, begin the next, and return what was written."""
        window = self._window
        means = window.means()  # a GPU is done with the window's work by now
        now = time.monotonic()
        seconds = window.seconds(now)
        self._seconds += seconds
        values: dict[str, float | int | None] = {
            "step": self._step,
            **{name: means.get(name) for name in (*AVERAGED, *LOOKED_AT)},
            "lr": self._lr,
            "images_per_second": round(window.counts["images"] / max(1e-9, seconds), 1),
            "seconds": round(self._seconds, 3),
            "unreadable": window.counts["unreadable"],
            **{f"seconds_{name}": round(of_phase, 6) for name, of_phase in window.phases().items()},
        }
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        curves = {curve_of(name): v for name, v in values.items() if name != "step" and v is not None}
        self._tracker.scalars(self._step, curves)
        window.clear(now)
        return values

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
            image_id, names = record.batch.image_id, None
            if self._names_of is not None:
                drawn = torch.cat(triplets.rows).unique().numpy()
                names = dict(zip(drawn.tolist(), self._names_of(image_id[drawn]), strict=True))
            picture = triplet_picture(record.batch.images.cpu().numpy(), image_id, triplets, names)
            self._tracker.image(record.step, "hardest_triplets", picture)


def _measured(record: StepRecord) -> dict[str, Tensor | None]:
    """The scalars of a step, by their columns; of a step that learned nothing there are none."""
    statistics = record.statistics._asdict() if record.statistics is not None else {}
    return {"loss": record.loss, **statistics, "d_all": record.distance} if record.loss is not None else {}


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

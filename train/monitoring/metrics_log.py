"""metrics.jsonl and trackers: the same numbers for programs and for eyes, and pictures of a batch now and then."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...mining.artifacts import write_text
from ...mining.randomness import generator
from ..losses.loss import TripletStatistics
from ..step_record import StepRecord
from .line_window import LineWindow
from .metrics_file import whole_lines
from .phase_clock import Phases
from .pictures import hardest_triplets, pair_similarities, triplet_picture
from .trackers import Tracker

TRIPLETS_SHOWN = 8
AVERAGED = ("loss", *TripletStatistics._fields, "d_all")
"""Columns that are means over the steps of a line."""


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
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        tracker: Tracker,
        phases: Phases,
        pictures_every: int,
        window: LineWindow | None = None,
    ) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in whole_lines(self.path) if (line[1]["step"] or 0) < first_step]
        write_text(self.path, "".join(text + "\n" for text, _ in kept))
        self._seconds = (kept[-1][1].get("seconds") or 0.0) if kept else 0.0
        self._tracker, self._phases, self._pictures_every = tracker, phases, pictures_every
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (held for the whole training)
        self._window = window or LineWindow()
        self._window.start(phases)

    def add(self, record: StepRecord) -> None:
        """Add one step to the window, and show its batch where it is time for that."""
        if self._pictures_every and (record.step + 1) % self._pictures_every == 0:
            with self._phases("pictures"):
                self._show(record)
        self._step, self._lr = record.step, record.lr
        self._window.add(_measured(record), {"images": record.images, "unreadable": record.unreadable})

    def write(self) -> dict[str, float | int | None]:
        """Write the window as one line, begin the next, and return what was written."""
        window = self._window
        means = window.means()  # a GPU is done with the window's work by now
        now = time.monotonic()
        seconds = window.seconds(now)
        self._seconds += seconds
        values: dict[str, float | int | None] = {
            "step": self._step,
            **{name: means.get(name) for name in AVERAGED},
            "lr": self._lr,
            "images_per_second": round(window.counts["images"] / max(1e-9, seconds), 1),
            "seconds": round(self._seconds, 3),
            "unreadable": window.counts["unreadable"],
            **{f"seconds_{name}": round(of_phase, 6) for name, of_phase in window.phases().items()},
        }
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        curves = {f"train/{name}": v for name, v in values.items() if name != "step" and v is not None}
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
            picture = triplet_picture(record.batch.images.cpu().numpy(), record.batch.image_id, triplets)
            self._tracker.image(record.step, "hardest_triplets", picture)


def _measured(record: StepRecord) -> dict[str, Tensor | None]:
    """The scalars of a step, by their columns; of a step that learned nothing there are none."""
    statistics = record.statistics._asdict() if record.statistics is not None else {}
    return {"loss": record.loss, **statistics, "d_all": record.distance} if record.loss is not None else {}


def in_words(values: Mapping[str, Any]) -> str:
    """A line of the log for the progress line: loss, triplets, rate."""
    parts = [f"loss {values['loss']:.3f}" if values["loss"] is not None else "no loss"]
    if values["active_fraction"] is not None:
        parts += [
            f"active {values['active_fraction']:.0%}",
            f"d_ap {values['d_ap']:.2f}",
            f"d_an {values['d_an']:.2f}",
        ]
    return ", ".join([*parts, f"lr {values['lr']:.1e}", f"{values['images_per_second']:,.0f} images/s"])

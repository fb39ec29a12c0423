"""metrics.jsonl and TensorBoard events: the same numbers for programs and for eyes."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ..mining.artifacts import write_text
from .loop import StepRecord


class MetricsLog:
    """Averages step records over a window and appends one JSON object per window.

    Args:
        folder: gets `metrics.jsonl` and `tensorboard/`.
        first_step: the step that training (re)starts at; lines of later steps, written by a process that
            was killed before its next checkpoint, are dropped.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in _lines(self.path) if json.loads(line)["step"] < first_step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self._seconds_before = json.loads(kept[-1])["seconds"] if kept else 0.0
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (held for the whole training)
        self._started = self._window_started = time.monotonic()
        self._window: list[StepRecord] = []

    def add(self, record: StepRecord) -> None:
        """Add one step to the window."""
        self._window.append(record)

    def write(self) -> dict[str, float | int | None]:
        """Write the window as one line, begin the next, and return what was written."""
        now = time.monotonic()
        learned = [record for record in self._window if record.loss is not None]
        statistics = [record.statistics for record in learned if record.statistics is not None]
        images = sum(record.images for record in self._window)
        values: dict[str, float | int | None] = {
            "step": self._window[-1].step,
            "loss": _mean([float(record.loss) for record in learned if record.loss is not None]),
            "active_fraction": _mean([float(s.active_fraction) for s in statistics]),
            "d_ap": _mean([float(s.d_ap) for s in statistics]),
            "d_an": _mean([float(s.d_an) for s in statistics]),
            "d_all": _mean([float(record.distance) for record in learned if record.distance is not None]),
            "lr": self._window[-1].lr,
            "images_per_second": round(images / max(1e-9, now - self._window_started), 1),
            "seconds": round(self._seconds_before + now - self._started, 3),
            "unreadable": sum(record.unreadable for record in self._window),
        }
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        for name, value in values.items():
            if name != "step" and value is not None:
                self._events.add_scalar(f"train/{name}", value, int(values["step"] or 0))
        self._window.clear()
        self._window_started = now
        return values

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._events.close()

    @property
    def waiting(self) -> int:
        """Steps in the window that are not written yet."""
        return len(self._window)


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The lines of a metrics.jsonl; a last line that a kill cut short is left out."""
    return [json.loads(line) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _mean(values: list[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None

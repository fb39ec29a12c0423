"""The steps since the last line of metrics.jsonl: named sums, so that a training stopped between two lines goes on in them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..devices import numbers_of
from .phase_clock import Phases


class LineWindow:
    """Sums of what steps measured and counted, and the seconds that they took; `state()` is part of every checkpoint.

    Measured scalars stay on their device until they are read, all in one copy: adding a step waits for nothing.

    Example:
        >>> import torch
        >>> before, after = LineWindow(), LineWindow()
        >>> before.add({"loss": torch.tensor(1.0)}, {"images": 8})
        >>> after.load(before.state())
        >>> after.add({"loss": torch.tensor(4.0)}, {"images": 8})
        >>> after.means(), after.counts, after.steps
        ({'loss': 2.5}, {'images': 16}, 2)
    """

    def __init__(self) -> None:
        self._phases = Phases()
        self.clear()

    def start(self, phases: Phases) -> None:
        """Begin to measure time, in these phases; what `load` brought stays."""
        self._phases, self._since = phases, time.monotonic()

    def clear(self, since: float | None = None) -> None:
        """Begin a window, at a time of `time.monotonic` or now."""
        self.steps = 0
        self.counts: dict[str, int] = {}
        self._pending: list[tuple[str, Tensor]] = []
        self._sums: dict[str, tuple[float, int]] = {}
        self._seconds, self._seconds_of = 0.0, dict[str, float]()
        self._since = time.monotonic() if since is None else since

    def add(self, measured: Mapping[str, Tensor | None], counts: Mapping[str, int]) -> None:
        """Add a step: scalars of which the mean is wanted, and whole numbers of which the sum is."""
        self.steps += 1
        self._pending += [(name, value) for name, value in measured.items() if value is not None]
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def means(self) -> dict[str, float]:
        """The mean of the finite scalars of each name that has one. A GPU is done with the steps by then."""
        self._read()
        return {name: total / count for name, (total, count) in self._sums.items()}

    def seconds(self, now: float) -> float:
        """Since the window began, without the time between two processes."""
        return self._seconds + now - self._since

    def phases(self) -> dict[str, float]:
        """Seconds of each phase, in the order in which they first came."""
        for name, seconds in self._phases.take().items():
            self._seconds_of[name] = self._seconds_of.get(name, 0.0) + seconds
        return dict(self._seconds_of)

    def state(self) -> dict[str, Any]:
        """What a resumed training needs to write the line that would have come; {} where a line has just been written."""
        if not self.steps:
            return {}
        self._read()
        sums = {name: [total, count] for name, (total, count) in self._sums.items()}
        took = {"seconds": self.seconds(time.monotonic()), "phases": self.phases()}
        return {"steps": self.steps, "sums": sums, "counts": dict(self.counts), **took}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state()`; older checkpoints have none, and had written their line."""
        self.clear()
        self.steps, self.counts = state.get("steps", 0), dict(state.get("counts", {}))
        self._sums = {name: (total, count) for name, (total, count) in state.get("sums", {}).items()}
        self._seconds, self._seconds_of = state.get("seconds", 0.0), dict(state.get("phases", {}))

    def _read(self) -> None:
        names, scalars = [name for name, _ in self._pending], [value for _, value in self._pending]
        self._pending = []
        # one after another: the sum is the same wherever a stop divides the steps
        for name, value in zip(names, numbers_of(scalars), strict=True):
            if math.isfinite(value):
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + value, count + 1

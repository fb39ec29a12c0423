"""Where the time of a training goes: data, forward, loss, backward, update, and what the shell adds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

PENDING_AT_MOST = 4096

T = TypeVar("T")


class Phases:
    """Sums the seconds of each phase: `with phases("forward"): ...`, then `phases.take()` for each line of the log.

    On the CPU it is the clock. On CUDA, where calls return before their work is done, it is the time between
    two events in the stream, read only in `take`, which waits for the device: phases then split up the device's
    time, and waiting for data counts only as far as the device waited too.
    On other devices (mps) it is the clock, so a phase that waits is charged with the work of those before it.
    Phases do not nest: an inner one would count twice.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._on_cuda = device is not None and device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Charge the block to a phase, also where it raises."""
        if self._on_cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            try:
                yield
            finally:
                end.record()
                self._pending.append((name, start, end))
                if len(self._pending) > PENDING_AT_MOST:  # nobody takes: their sums are enough
                    self._read_events()
            return
        started = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, time.perf_counter() - started)

    def over(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Yield `items`; the time that each takes to come is charged to the phase."""
        end = object()
        iterator = iter(items)
        while True:
            with self(name):
                item = next(iterator, end)
            if item is end:
                return
            yield item  # pyright: ignore[reportReturnType]

    def take(self) -> dict[str, float]:
        """Seconds of each phase since the last call, in the order in which they first came."""
        self._read_events()
        taken, self._seconds = self._seconds, {}
        return taken

    def _read_events(self) -> None:
        for name, start, end in self._pending:
            end.synchronize()
            self._add(name, start.elapsed_time(end) / 1000)
        self._pending.clear()

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

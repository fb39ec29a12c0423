"""Signals that stop a command: a saved and resumable end, exit code 4."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ..mining.errors import StoppedEarly

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@dataclass
class StopRequest:
    """Signals, turned into a saved and resumable end.

    Work that can save itself sets `graceful` and looks at `name` between steps; elsewhere a signal
    raises `StoppedEarly` at once, and the stage's unfinished files are removed or resumed from later.
    """

    name: str | None = None
    graceful: bool = False
    hurries: bool = True
    """Whether a second signal ends graceful work at once. Not where a launcher passes on signals that a scheduler has
    sent to every process already."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the stop signals inside the block."""
        before = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hold(self, work: Callable[[], object]) -> None:
        """Do work that a signal must not interrupt, such as importing native code; a signal ends the command after it.

        Raises:
            StoppedEarly: one came.
        """
        before, self.graceful = self.graceful, True
        try:
            work()
        finally:
            self.graceful = before
        if self.name and not self.graceful:
            raise StoppedEarly(f"stopped by {self.name}; run the same command to continue")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.name is not None and self.hurries
        self.name = signal.Signals(number).name
        if again or not self.graceful:
            raise StoppedEarly(f"stopped by {self.name}; run the same command to continue")

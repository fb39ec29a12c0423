"""How a command was called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .console import Console
from .signals import StopRequest


@dataclass(frozen=True)
class Options:
    """How a command was called."""

    console: Console = field(default_factory=Console)
    device: str | None = None
    force: bool = False
    remake_stale: bool = False
    """Like `force`, but only for stages that are done with other settings or inputs."""
    resume: bool = True
    dry_run: bool = False
    stop: StopRequest = field(default_factory=StopRequest)
    processes: int = 1
    """That train together or extract side by side; more than 1: this one starts them and waits."""
    overrides: tuple[str, ...] = ()
    """Settings given on the command line, for the processes that it starts."""
    on_work: Callable[[], None] = lambda: None
    """Called when a stage begins its work."""

"""Work of a protocol that is ready to be done: what it will take, and who does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...mining.machine import memory_with
from ..console import about
from ..estimates.estimate import of_memory
from .outcome import Outcome


@dataclass(frozen=True)
class Planned:
    """One protocol on chosen images.

    >>> Planned("3 images", lambda: Outcome({}, {}, "on 3 images")).work().basis
    'on 3 images'
    """

    announcement: str
    """One line: which images, how long, how much memory."""
    work: Callable[[], Outcome]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the figures depend on besides the images, for metrics.json."""


def cost_in_words(seconds: float, more: float) -> str:
    """Time of what comes, and all the memory that the process will have had: `more` bytes beside what it holds, and torch.

    >>> cost_in_words(90, 2e15)  # doctest: +ELLIPSIS
    'about 90 seconds, 2,300.0 TB of memory, more than the ... free here'
    """
    return f"{about(seconds)}, {of_memory(memory_with(more, torch_comes=True))}"

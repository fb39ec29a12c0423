"""Work of a protocol that is ready to be done: what it will take, and who does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..console import about, amount
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


def cost_in_words(seconds: float, memory: float) -> str:
    """Time and memory of what comes.

    >>> cost_in_words(90, 2e9)
    'about 90 seconds, 2.0 GB of memory'
    """
    return f"{about(seconds)}, {amount(memory)} of memory"

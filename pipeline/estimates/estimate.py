"""What a stage will take, in the line in which it is said."""

from __future__ import annotations

from dataclasses import dataclass

from ...mining.machine import free_memory, peak_memory
from ..console import about, amount


@dataclass(frozen=True)
class Estimate:
    """The line of an announcement, around its time.

    >>> str(Estimate("9,300 images", 44.2, ", 800.0 MB of memory"))
    '9,300 images, about 44 seconds, 800.0 MB of memory'
    """

    work: str
    seconds: float
    """On a machine that does nothing else."""
    rest: str = ""

    def __str__(self) -> str:
        return f"{self.work}, {about(self.seconds)}{self.rest}"


def of_memory(needed: float) -> str:
    """All the memory that a process will have had, and what is free where that is less.

    >>> of_memory(3e8)
    '300.0 MB of memory'
    >>> "2,000.0 TB of memory, more than the " in of_memory(2e15)
    True
    """
    free = free_memory()
    if free is None or needed - peak_memory() <= free:
        return f"{amount(needed)} of memory"
    return f"{amount(needed)} of memory, more than the {amount(free)} that are free here"

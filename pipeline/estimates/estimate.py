"""What a stage will take, in the line in which it is said."""

from __future__ import annotations

from dataclasses import dataclass

from ..console import about


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

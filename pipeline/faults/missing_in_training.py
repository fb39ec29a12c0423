"""Images that a training could not read: a step of which too much is missing is not taken, and no schedule burnt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ...mining.errors import InputError, StoppedEarly
from ...train import distributed
from ...train.data.images import ImageStore
from ...train.step_record import StepImages
from ..configuration.config import DataConfig
from .unreadable_images import RESTORE, UnreadableImages, called, tolerated

RECENT = 100
"""Steps that are judged by themselves, too: after a million images half of a disk would show too late."""


class MissingInTraining:
    """Judges the images of each step before it is taken, and counts what was read.

    Every process counts the same, so all stop at one step. The counts are the host's: nothing waits for a device.

    Args:
        config: its `max_bad_fraction`; where its `on_bad_image` says fail, a single image ends the training.
        store: says where an image lies.
        K: images of an identity in a batch, which are often missing together.
    """

    def __init__(self, config: DataConfig, store: ImageStore, K: int = 1) -> None:
        self.images = UnreadableImages(config, store, K)
        self.learned = 0
        """Steps of which at least two images could be read."""
        self._recent: deque[tuple[int, int, int]] = deque(maxlen=RECENT)

    def look(self, images: StepImages, keep: Callable[[], str] = str) -> None:
        """Refuse a step whose images cannot be read, or count them. Called by all processes.

        Args:
            keep: saves what is sound, and says what that is.

        Raises:
            InputError: one cannot, and the settings say fail.
            StoppedEarly: too many cannot, or none of the step can.
        """
        store, bad = self.images.store, next(iter(images.bad), None)
        if self.images.fail and images.unreadable:
            distributed.refuse_if_any(bad and f"{called(store, bad)}; {RESTORE}")
        if images.unreadable and not self._is_tolerable(images):
            kept = keep()
            self.images.count(images.planned, images.unreadable)
            first = distributed.told(bad and called(store, bad))
            what = f"step {images.step + 1}: {images.unreadable:,} of its {images.planned:,} images cannot be read"
            raise StoppedEarly(self.images.problem(first, what, kept))
        self._recent.append((images.step, images.planned, images.unreadable))
        self.images.count(images.planned, images.unreadable)
        self.learned += images.readable >= 2

    def _is_tolerable(self, images: StepImages) -> bool:
        fraction, recent = self.images.fraction, [*self._recent][1 - RECENT :]
        bad = images.unreadable + sum(unreadable for *_, unreadable in recent)
        read = images.planned + sum(planned for _, planned, _ in recent)
        in_all = self.images.unreadable + images.unreadable
        return (
            images.readable > 0
            and bad <= tolerated(read, fraction, self.images.together)
            and in_all <= tolerated(self.images.read + images.planned, fraction, self.images.together)
        )

    def sound_step(self, step: int) -> int:
        """The step up to which no recent one has missed an image; `step` itself where none has."""
        return min((earlier for earlier, _, unreadable in self._recent if unreadable), default=step)

    def refuse_nothing_learned(self, steps: int, keep: Callable[[], str]) -> None:
        """Refuse to call a training done of whose steps none has learned. Called by all processes.

        Raises:
            InputError: no batch has two images.
            StoppedEarly: they have, but cannot be read.
        """
        if self.learned or not steps:
            return
        what = f"none of {steps:,} steps had two readable images, so nothing was learned"
        kept = keep()
        if not self.images.unreadable:
            raise InputError(f"{what}; the batches of the plan are too small: set a larger P or K")
        raise StoppedEarly(self.images.problem(None, what, kept))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: the recent steps only where one of them missed an image."""
        counted = self.images
        missed = any(unreadable for *_, unreadable in self._recent)
        recent = {"recent": [list(step) for step in self._recent]} if missed else {}
        return {"read": counted.read, "unreadable": counted.unreadable, "learned": self.learned, **recent}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`; an older checkpoint has none, and counts as one that has learned."""
        self.images.read, self.images.unreadable = state.get("read", 0), state.get("unreadable", 0)
        self.learned = state.get("learned", 1)
        self._recent.clear()
        self._recent.extend(
            (step, planned, unreadable) for step, planned, unreadable in state.get("recent", [])
        )

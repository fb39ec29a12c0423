"""Images that a stage could not read, held against `data.max_bad_fraction`: some are tolerated, a lost disk is not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.errors import InputError, StoppedEarly
from ...mining.remote import is_url

if TYPE_CHECKING:
    from ...train.data.images import BadImage, ImageStore
    from ..configuration.config import DataConfig
    from ..stages.parts import Parts

HANDFUL = 5
"""So many are always tolerated, unless the fraction is 0: in 20 images one is 5 %, and says nothing of the rest."""

RESTORE = "restore it, or set data.on_bad_image=quarantine"


def tolerated(read: int, fraction: float, together: int = 1) -> float:
    """How many of `read` images may be unreadable while more are to come: the fraction, and four deviations of chance.

    Args:
        together: images that are read, and may be missing, at once: those of an identity.

    >>> tolerated(20, 0.01), tolerated(10_000, 0.01), tolerated(1_000_000, 0.01), tolerated(20, 0)
    (5, 140.0, 10400.0, 0)
    >>> tolerated(20, 0.01, together=4), tolerated(10_000, 0.01, together=4)
    (8, 180.0)
    """
    expected = fraction * read
    return max(HANDFUL, 2 * together, expected + 4 * (expected * together) ** 0.5) if fraction else 0


class UnreadableImages:
    """Counts what a stage reads, and says when so much is missing that it must stop.

    It must where none of a batch of more than a handful can be read; where more are unreadable than `tolerated`; and
    at its end, where the share of all is above the fraction.

    Args:
        config: its `max_bad_fraction`; where its `on_bad_image` says fail, a single image ends the stage.
        store: says where an image lies.
        together: images of an identity that are read at once.
        setting: how the fraction is given.
    """

    def __init__(
        self,
        config: DataConfig,
        store: ImageStore,
        together: int = 1,
        setting: str = "data.max_bad_fraction=",
    ) -> None:
        self.setting = setting
        self.fraction, self.fail = config.max_bad_fraction, config.on_bad_image == "fail"
        self.store, self.together = store, together
        self.read = self.unreadable = 0
        self.first: str | None = None
        """What the first unreadable image is called."""

    def add(self, planned: int, bad: Sequence[BadImage]) -> None:
        """Count a batch.

        Raises:
            InputError: one cannot be read, and the settings say fail.
            StoppedEarly: too many are missing.
        """
        if bad and self.fail:
            raise InputError(f"{called(self.store, bad[0])}; {RESTORE}")
        self.count(planned, len(bad), next(iter(bad), None))
        if (
            self.unreadable > tolerated(self.read, self.fraction, self.together)
            or len(bad) == planned > HANDFUL
        ):
            raise StoppedEarly(self.problem(self.first))

    def count(self, planned: int, bad: int, first: BadImage | None = None) -> None:
        """Count without a judgement, such as what an earlier command has read."""
        self.read, self.unreadable = self.read + planned, self.unreadable + bad
        self.first = self.first or (first and called(self.store, first))

    def count_parts(self, parts: Parts, some: Iterable[int]) -> None:
        """Count what the finished ones of some parts have read, and what they could not."""
        for part in filter(parts.is_finished, some):
            bad = parts.unreadable(part)
            self.count(parts.images([part]), len(bad), next(iter(bad), None))

    def end(self) -> None:
        """Judge all that was read.

        Raises:
            StoppedEarly: the share of the unreadable is above the fraction, or nothing could be read.
        """
        if self.is_over():
            raise StoppedEarly(self.problem(self.first))

    def is_over(self) -> bool:
        """Whether it is more than is tolerated of a whole."""
        limit = max(HANDFUL, 2 * self.together, self.fraction * self.read) if self.fraction else 0
        return self.unreadable > limit or 0 < self.read == self.unreadable

    def problem(self, first: str | None, what: str = "", kept: str = "") -> str:
        """What is missing where, and how to go on, in a line.

        Args:
            first: what the first unreadable image is called.
            what: stopped the stage, where it is not the count alone.
            kept: of the work so far.
        """
        count = f"{self.unreadable:,} of {self.read:,} images cannot be read"
        parts = [
            f"{what} ({count} so far)" if what else count,
            *([f"the first: {first}"] if first else []),
            *([kept] if kept else []),
            "bring them back and run the same command, or leave them out of the manifest, or raise "
            f"{self.setting}{self.fraction:g}",
        ]
        return "; ".join(parts)


def called(store: ImageStore, bad: BadImage) -> str:
    """An unreadable image: its number, where it lies, what is wrong, and which folder is gone where one is."""
    place = store.place(bad.image_id)
    where = "" if place is None else f" ({place})"
    return f"image {bad.image_id}{where} cannot be read: {bad.reason}{_gone(place)}"


def _gone(place: str | None) -> str:
    """How far the path of a local file still exists that is missing with its folder, or out of an empty one."""
    if place is None or is_url(place) or os.path.exists(place):
        return ""
    there = next((folder for folder in Path(place).parents if folder.is_dir()), None)
    if there is None:
        return ""
    try:
        empty = next(os.scandir(there), None) is None
    except OSError as error:
        return f" (the folder {there} cannot be read: {error.strerror})"
    if empty:
        return f" (the folder {there} is there but empty: is a disk not mounted?)"
    return "" if there == Path(place).parent else f" (of its folders only {there} is there)"

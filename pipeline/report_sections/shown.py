"""Identities as sections with pictures show them, and what these say where there are no pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..pictures.picture_book import Picture, PictureBook
from ..report.run_report import RunReport
from ..stage_folder import StageFolder


class Shown(NamedTuple):
    """An identity with some of its pictures."""

    name: str
    pictures: list[Picture]


def shown_identity(
    book: PictureBook, identity_id: int, name: str, role: str, count: int, pixels: int
) -> Shown:
    """An identity with `count` of its images, drawn by seed.

    Args:
        role: what it is here, for alternative texts.
    """
    rows = book.rows_of(identity_id, count)
    return Shown(name, [book.picture(row, f"{name}, {role}", pixels) for row in rows])


def no_pictures(report: RunReport, folder: StageFolder | None = None, stage: str = "extract") -> str:
    """Why a section has no pictures, in a sentence.

    Args:
        folder: where `stage` made what it would show; default: the latest round with means.
    """
    folder = folder or report.latest(stage)
    if report.manifest is None:
        return f"{report.manifest_name} cannot be read, so there are no pictures to show."
    if folder is not None and not folder.is_of(report.manifest.fingerprint, stage):
        return (
            f"{report.manifest_name} has changed since `subspace {stage}` read it for {folder.name}, so there are no "
            "pictures to show."
        )
    if (made := report.latest("cluster")) is not None and report.clustered is None:
        return f"The subspaces of {made.name} are of other means than it has now; `subspace run` makes them anew."
    return "No round has subspaces yet; `subspace run` makes them."


def unreadable_note(pictures: Iterable[Picture]) -> list[str]:
    """How many pictures are placeholders; nothing where none is."""
    shown = list(pictures)
    bad = sum(not picture.readable for picture in shown)
    return (
        [f"{bad:,} of {len(shown):,} images could not be read; a grey cross stands for each."] if bad else []
    )

"""The worst mistakes of the evaluation: the probe, the image that it was taken for, and its own, in pictures."""

from __future__ import annotations

from typing import NamedTuple

from ...mining.local_paths import in_shell
from ...mining.parquet_tables import metadata_of, open_parquet, read_parquet
from ...mining.schemas import MISTAKES
from ..pictures.picture_book import Picture, PictureBook
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..round_chain import is_measured
from ..stage_folder import StageFolder
from .shown import no_pictures, unreadable_note

TITLE = "What does the network get wrong?"
SHOWN, PIXELS = 18, 64


class Mistake(NamedTuple):
    """A probe that resembles another identity more than its own."""

    probe: Picture
    wrong: Picture
    right: Picture
    name: str
    wrong_name: str
    wrong_cosine: str
    right_cosine: str


def make_mistakes(report: RunReport) -> Section:
    """The worst mistakes of the latest network that was evaluated, one of each identity."""
    folder = next((found for found in reversed(report.folders) if is_measured(found, "eval")), None)
    if folder is None or not folder.mistakes.exists():
        words = (
            "No network has been evaluated yet."
            if folder is None
            else f"The evaluation of {folder.name} is from a version that kept no single mistakes; "
            f"`subspace eval {in_shell(report.run.path)} --force` keeps them."
        )
        return fill_section("mistakes", TITLE, answer=words, mistakes=[], notes=[])
    book = report.pictures
    if book is None or not folder.is_of(book.manifest.fingerprint, "eval"):
        why = no_pictures(report) if book is None else no_pictures(report, folder, "eval")
        return fill_section("mistakes", TITLE, answer=why, mistakes=[], notes=[])
    mistakes = _mistakes(book, folder)
    notes = unreadable_note(picture for one in mistakes for picture in (one.probe, one.wrong, one.right))
    return fill_section(
        "mistakes", TITLE, answer=_answer(folder, len(mistakes)), mistakes=mistakes, notes=notes
    )


def _answer(folder: StageFolder, shown: int) -> str:
    counts = metadata_of(open_parquet(folder.mistakes, MISTAKES))
    probes, mistaken = (int(counts.get(name, "0")) for name in ("probes", "mistaken"))
    network = "starting network" if folder.index < 0 else f"network of {folder.name}"
    of_all = folder.examined("eval").get("probes") or probes
    drawn = f" drawn from {of_all:,}" if probes < of_all else ""
    words = f"The {network} takes {mistaken:,} of {probes:,} test images{drawn} for another identity"
    if not shown:
        return f"{words}."
    return (
        f"{words}. Below are the {shown:,} worst, one of each identity: those that are much more similar to the other's "
        "image than to their own. Numbers are cosines to the test image."
    )


def _mistakes(book: PictureBook, folder: StageFolder) -> list[Mistake]:
    rows = read_parquet(folder.mistakes, MISTAKES).slice(0, SHOWN).to_pylist()
    sides = ("image_id", "wrong_image_id", "right_image_id")
    rows = [row for row in rows if max(row[side] for side in sides) < len(book.manifest)]
    book.load((row[side] for row in rows for side in sides), PIXELS)
    return [
        Mistake(
            book.picture(row["image_id"], f"{row['identity']}, the test image", PIXELS),
            book.picture(row["wrong_image_id"], f"{row['wrong_identity']}, what it was taken for", PIXELS),
            book.picture(row["right_image_id"], f"{row['identity']}, its own image in the gallery", PIXELS),
            row["identity"],
            row["wrong_identity"],
            f"{row['wrong_similarity']:.3f}",
            f"{row['right_similarity']:.3f}",
        )
        for row in rows
    ]

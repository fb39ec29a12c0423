"""Suspected duplicates, suspects of `subspace clean` and files that could not be read, in pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ...mining.cleaning.settings import REASONS
from ...mining.local_paths import in_shell
from ...mining.parquet_tables import read_parquet
from ...mining.schemas import QUARANTINE, SUSPECTS
from ..console import counted
from ..pictures.picture_book import Picture, PictureBook
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..stage_folder import SUSPECTS as SUSPECTS_FILE
from ..stage_folder import StageFolder
from ..stage_words import duplicates_in_words
from ..stages.round_tables import read_duplicate_trust, read_likely_duplicates, validated_rank_1
from .shown import Shown, no_pictures, shown_identity, unreadable_note

TITLE = "Suspected duplicates and noise"
PAIRS, DOUBTFUL, OF_EACH = 12, 6, 3
"""Pairs shown, of a list that is not yet reliable, and pictures of each identity."""
OF_REASON, FILES, PIXELS = 8, 12, 64


class Duplicate(NamedTuple):
    """Two identities that may be one."""

    a: Shown
    b: Shown
    facts: str


class Suspect(NamedTuple):
    """An image or an identity that is not what its name says."""

    pictures: list[Picture]
    name: str
    facts: str


class Reason(NamedTuple):
    """Suspects for one reason."""

    title: str
    words: str
    suspects: list[Suspect]


class Unread(NamedTuple):
    """A file that could not be read."""

    picture: Picture
    name: str
    file: str
    reason: str


def make_suspects(report: RunReport) -> Section:
    """Three lists, each capped, the surest first; one that is not there says which command makes it."""
    book = report.pictures
    if book is None:
        return fill_section(
            "suspects", TITLE, duplicates_answer=no_pictures(report), duplicates=[], reasons_answer="", reasons=[],
            files_answer="", files=[], notes=[],
        )  # fmt: skip
    duplicates_answer, duplicates = _duplicates(report, book)
    reasons_answer, reasons = _reasons(report, book)
    files_answer, files = _files(report, book)
    pictures: Iterator[Picture] = (
        picture
        for found in (
            *(side.pictures for pair in duplicates for side in (pair.a, pair.b)),
            *(suspect.pictures for reason in reasons for suspect in reason.suspects),
        )
        for picture in found
    )
    return fill_section(
        "suspects", TITLE, duplicates_answer=duplicates_answer, duplicates=duplicates, reasons_answer=reasons_answer,
        reasons=reasons, files_answer=files_answer, files=files, notes=unreadable_note(pictures),
    )  # fmt: skip


def _duplicates(report: RunReport, book: PictureBook) -> tuple[str, list[Duplicate]]:
    folder = report.clustered
    if folder is None and report.latest("cluster") is not None:
        return no_pictures(report), []
    trust = None if folder is None else read_duplicate_trust(folder)
    if folder is None or trust is None:
        return "No round has looked for duplicates (cluster.duplicates_within).", []
    if not trust.pairs:
        return f"{folder.name} suspects no two identities of being one.", []
    pairs = read_likely_duplicates(folder, PAIRS if trust.reliable else DOUBTFUL).to_pylist()
    network = report.run.network(folder.index)
    words = f"{folder.name}: {duplicates_in_words(trust, validated_rank_1(network))}."
    if len(pairs) == 1:
        words += " It is below."
    elif pairs:
        only = "are" if trust.reliable else "are only"
        words += f" Below {only} the {len(pairs):,} most similar of those that are each other's nearest."
    book.load(
        (
            image
            for pair in pairs
            for side in "ab"
            for image in book.rows_of(pair[f"identity_id_{side}"], OF_EACH)
        ),
        PIXELS,
    )
    return words, [
        Duplicate(
            *(
                shown_identity(
                    book, pair[f"identity_id_{side}"], pair[f"identity_{side}"],
                    f"perhaps the same as {pair[f'identity_{other}']}", OF_EACH, PIXELS,
                )
                for side, other in ("ab", "ba")
            ),
            facts=f"cosine {pair['similarity']:.3f}; two halves of one would have {pair['expected']:.3f}",
        )
        for pair in pairs
    ]  # fmt: skip


def _reasons(report: RunReport, book: PictureBook) -> tuple[str, list[Reason]]:
    folder = _with_suspects(report)
    if folder is None:
        return (
            f"`subspace clean {in_shell(report.run.path)}` looks for wrong names and near repeats; it has not run.",
            [],
        )
    if not folder.is_of(book.manifest.fingerprint, "clean"):
        return no_pictures(report, folder, "clean"), []
    table = read_parquet(folder.file(SUSPECTS_FILE), SUSPECTS)
    found: list[Reason] = []
    for reason in dict.fromkeys(table["reason"].cast("string").to_pylist()):
        rows = table.filter(np.array([one == reason for one in table["reason"].to_pylist()]))
        shown = [_suspect(book, row) for row in rows.slice(0, OF_REASON).to_pylist()]
        title = f"{reason}: {counted(len(rows), 'suspect')}"
        found.append(Reason(title, REASONS.get(reason, ""), shown))
    if not found:
        return f"`subspace clean` found nothing suspicious with the network before {folder.name}.", []
    return (
        f"What `subspace clean` found with the network before {folder.name}, the surest of each reason first.",
        found,
    )


def _with_suspects(report: RunReport) -> StageFolder | None:
    """The last folder that was cleaned: a round's, or the one after all rounds where the last network only cleaned."""
    after = report.run.round(max((folder.index for folder in report.rounds), default=-1) + 1)
    cleaned = [found for found in (*report.rounds, after) if found.file(SUSPECTS_FILE).exists()]
    return next((found for found in reversed(cleaned) if found != after or found.only_cleaned), None)


def _suspect(book: PictureBook, row: dict[str, Any]) -> Suspect:
    known = len(book.manifest)
    sides = [
        (row["image_id"], row["identity_id"], row["identity"], "suspected"),
        (row["other_image_id"], row["other_identity_id"], row["other_identity"], "what it resembles"),
    ]
    pictures = []
    for image, identity, name, role in sides:
        rows = [] if identity is None else book.rows_of(identity, 1) if image is None else [image]
        pictures += [book.picture(one, f"{name}, {role}", PIXELS) for one in rows if one < known]
    other = row["other_identity"]
    facts = f"score {row['score']:.3f}" + (
        f", resembles {other}" if other and other != row["identity"] else ""
    )
    return Suspect(pictures, row["identity"], facts)


def _files(report: RunReport, book: PictureBook) -> tuple[str, list[Unread]]:
    folder = _with_quarantine(report)
    if folder is None:
        return "No round has read the images yet.", []
    table = read_parquet(folder.quarantine, QUARANTINE)
    if not len(table):
        return f"Every image was read in {folder.name}.", []
    files = [
        Unread(
            book.picture(row["image_id"], row["identity"], PIXELS),
            row["identity"],
            row["uri"] or "(inside the manifest)",
            row["reason"],
        )
        for row in table.slice(0, FILES).to_pylist()
    ]
    words = f"{counted(len(table), 'image')} could not be read in {folder.name}"
    return f"{words}; {'these' if len(files) == len(table) else f'the first {len(files)}'}:", files


def _with_quarantine(report: RunReport) -> StageFolder | None:
    done = report.latest("extract")
    return done if done is not None and done.quarantine.exists() else None

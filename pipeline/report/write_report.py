"""The sections of a run to one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...mining.artifacts import write_text
from .page import render_page
from .run_report import RunReport
from .section import MakeSection, Section

MOST_BYTES = 20_000_000
"""A report stays below that: sections with pictures take at most PICTURE_BYTES in all."""
PICTURE_BYTES = 15_000_000


def make_page(
    report: RunReport,
    makers: Sequence[MakeSection],
    out: Path,
    *,
    track: Callable[[int], None] = lambda sections: None,
) -> list[Section]:
    """Make the sections and write the page, whole or not at all.

    Raises:
        InputError: it cannot be written.
        StaleArtifactError: a file of the run is damaged.
    """
    sections: list[Section] = []
    for make in makers:
        made = make(report)
        sections += [made] if made is not None else []
        track(1)
    write_text(out, render_page(report.run.path.resolve().name, report_lines(report), sections))
    return sections


def report_lines(report: RunReport) -> list[str]:
    """What stands below the name of the run: how far it is, on which images, with which seed the report is drawn."""
    done = sum(folder.finished("train") for folder in report.rounds)
    rounds = f"{done} of {max(report.settings.rounds, len(report.rounds))} rounds trained"
    manifest, images = report.manifest, f"images of {report.manifest_name}"
    if manifest is None:
        images += ", which is gone"
    elif report.trained_with not in (None, manifest.fingerprint):
        images += ", which has changed since the network was trained"
    else:
        images = f"{len(manifest):,} {images}"
    return [f"{rounds}; {images}.", f"Samples are drawn by seed {report.seed}."]

"""Answers as one HTML file with pictures in it, which any browser shows without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.artifacts import write_text
from ..output_file import mark_of_page, page_of
from ..terminal_text import printable_line
from .answers import Answer

if TYPE_CHECKING:
    from jinja2 import Environment

ANSWERS_PAGE = page_of("search")
TEMPLATE = "answers_page.html.j2"
MOST_PICTURES = 20_000
"""Images in a page that have their picture; about 60 MB."""


def pictures_left_out(answers: Sequence[Answer]) -> str:
    """What to say of images that a page has no room for; nothing where all have their picture."""
    images = {
        name for answer in answers for name in (answer.query, *(match.image for match in answer.matches))
    }
    if len(images) <= MOST_PICTURES:
        return ""
    return f"pictures of the first {MOST_PICTURES:,} of {len(images):,} images: a page holds no more"


def write_page(
    answers: Sequence[Answer],
    out: Path,
    *,
    title: str,
    notes: Sequence[str],
    track: Callable[[int], None] = lambda queries: None,
) -> None:
    """Write the page; names, paths and notes are data, and shown as such.

    Args:
        notes: lines above the answers: index, network, threshold.

    Raises:
        InputError: it cannot be written.
    """
    from .thumbnails import thumbnail

    shown = 0

    @cache
    def picture(image: str) -> str | None:
        nonlocal shown
        shown += 1
        return thumbnail(image) if shown <= MOST_PICTURES else None

    rows = []
    for answer in answers:
        matches = [(match, picture(match.image)) for match in answer.matches]
        rows.append((answer, picture(answer.query), matches))
        track(1)
    text = (
        environment()
        .get_template(TEMPLATE)
        .render(title=title, generator=mark_of_page("search"), notes=notes, rows=rows)
    )
    write_text(out, text)


def environment() -> Environment:
    """Jinja2 with everything escaped, and with controls and bidirectional overrides of names spelt out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["line"] = printable_line
    return made

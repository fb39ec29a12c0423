"""A set of the comparison by its name: of glyphs, `100k`, or of words, `words-100k`."""

from __future__ import annotations

from glyph_sets import GlyphSet
from word_sets import PREFIX, WordSet


def is_of_words(name: str) -> bool:
    """Whether a set, or a table that begins with its name, is of words."""
    return name.startswith(PREFIX)


def set_named(name: str) -> GlyphSet | WordSet:
    """The set of that name; exits with one line where there is none."""
    return WordSet.named(name) if is_of_words(name) else GlyphSet.named(name)


def title_of(name: str) -> str:
    """What a set, or a table that begins with its name, is called in results and above tables.

    >>> title_of("100k"), title_of("both-exams/100k"), title_of("words-1m")
    ('glyph-100k', 'glyph-100k, both exams', 'words-1m')
    """
    campaign, _, own = name.rpartition("/")
    title = own if is_of_words(own) else f"glyph-{own}"
    return f"{title}, {campaign.replace('-', ' ')}" if campaign else title

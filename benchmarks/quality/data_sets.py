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
    """What a set, or a table that begins with its name, is called in results and above tables."""
    return name if is_of_words(name) else f"glyph-{name}"

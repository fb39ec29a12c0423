"""The type family of a face that writes words, as of the glyph set, but that cuts of one old design are one family.

A family that has sans and serif letters is two where these are two designs by their look (DejaVu, Noto).
"""

from __future__ import annotations

import re

from type_families import type_family

DESIGNS = (
    # Cuts of Helvetica, Times, Courier and others by different foundries, and what was made to their measure.
    (r"Nimbus Sans.*|FreeSans|TeX Gyre Heros.*|Liberation Sans.*|Arimo|Caliban", "Helvetica"),
    (r"Nimbus Roman.*|FreeSerif|TeX Gyre Termes.*|Liberation Serif|Tinos|STIX.*", "Times"),
    (
        r"Nimbus Mono.*|FreeMono|TeX Gyre Cursor.*|Liberation|Liberation Mono|Cousine|Courier Prime.*",
        "Courier",
    ),
    (r"URW Gothic.*|TeX Gyre Adventor.*", "Avant Garde"),
    (r"URW Bookman.*|TeX Gyre Bonum.*", "Bookman"),
    (r"C059.*|TeX Gyre Schola.*", "Century Schoolbook"),
    (r"P052.*|TeX Gyre Pagella.*", "Palatino"),
    (r"Z003.*|TeX Gyre Chorus.*", "Chancery"),
    (r"DejaVu Sans.*|Hack", "DejaVu Sans"),
    (r"DejaVu Serif.*|DejaVu Math.*", "DejaVu Serif"),
    (r"Noto Serif.*", "Noto Serif"),
    (r"Noto .*|Open Sans.*", "Noto Sans"),  # both by Steve Matteson
    (r"CMU .*", "Computer Modern"),
    (r"Averia .*", "Averia"),
    (r"Roboto|Roboto Mono", "Roboto"),
    (r"Go|Go .*", "Go"),
    (r"PT (Sans|Serif|Mono|Astra).*", r"PT \1"),
    (r"Linux Libertine.*", "Linux Libertine"),
    (r"Linux Biolinum.*", "Linux Biolinum"),
    (r"EB ?Garamond.*", "EB Garamond"),
    (r"Charis.*|Gentium.*", "Charis and Gentium"),
    (r"Inter .*", "Inter"),
    (r"Lato.*|Carlito", "Lato"),
    (r"OpenDyslexic.*", "OpenDyslexic"),
    (r"Old ?Standard.*", "Old Standard"),
    (r"(?i:eurofurence|unifur).*", "Eurofurence"),
    (r"Anonymous Pro.*", "Anonymous Pro"),
    (r"Fanwood.*", "Fanwood"),
    (r"Vollkorn.*", "Vollkorn"),
    (r"Comic Neue.*", "Comic Neue"),
)
"""(pattern of a family, its design)."""
NO_WRITING = re.compile(
    r"D050000L|StandardSymbolsPS|LinBiolinumO?_?K.*|.*(Invert|Outline|Hairline|Initials).*"
)
"""Names of faces that have dingbats, Greek letters or keys in the places of a to z, or whose letters cannot be seen."""


def word_family(name: str) -> str:
    """The design that a face's family name belongs to.

    >>> word_family("Liberation Sans Narrow"), word_family("TeX Gyre Heros Cn"), word_family("Lato Semibold Italic")
    ('Helvetica', 'Helvetica', 'Lato')
    """
    family = type_family(name)
    for pattern, design in DESIGNS:
        if found := re.fullmatch(pattern, family):
            return found.expand(design)
    return family

"""Identities whose names a person would take for one: Bob and bob, or an accent that is written in two ways."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def said_of_alike(names: pa.Array) -> list[str]:
    """Say how many identities have another's name but for capitals, blanks, _ or the way in which Unicode writes an accent.

    Args:
        names: of the identities, each once. About 100 bytes each are held for a moment.

    >>> said_of_alike(pa.array(["Ann", "Bob", "bob ", "zoe"]))  # doctest: +NORMALIZE_WHITESPACE
    ["2 identities have another's name but for capitals, blanks, _ or Unicode's ways to write an accent, such as 'Bob' and 'bob ':
    each stays an identity of its own; give them one name if they are one"]
    """
    folded = pc.utf8_lower(pc.utf8_normalize(names, form="NFC"))
    folded = pc.replace_substring_regex(pc.utf8_trim_whitespace(folded), r"[\s_]+", " ")
    number = folded.dictionary_encode().indices.to_numpy()
    alike = np.bincount(number)[number] > 1
    if not alike.any():
        return []
    first = np.flatnonzero(number == number[np.argmax(alike)])[:2]
    one, other = (names[int(index)].as_py() for index in first)
    shown = ascii if normalize("NFC", one) == normalize("NFC", other) else repr  # or they would look the same
    return [
        f"{np.count_nonzero(alike):,} identities have another's name but for capitals, blanks, _ or Unicode's ways to write "
        f"an accent, such as {shown(one)} and {shown(other)}: each stays an identity of its own; give them one name if they "
        "are one"
    ]

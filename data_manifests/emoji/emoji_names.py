"""What a file of a package draws: its code points or its name to the emoji, however the vendor writes them.

Vendors leave out the joiner U+200D and the variation selector U+FE0F as they like, so neither tells emoji apart.
Names are matched by their words in any order, as `man-bald-light` is Unicode's "man: light skin tone, bald".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import NamedTuple

UNTOLD = {"200d", "fe0f"}
SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
SIGNS_OF_GENDER = {"2640", "2642"}
NOT_EMOJI = ("extras-openmoji", "extras-unicode")
"""Groups of OpenMoji's table that are pictures of its own."""


class Emoji(NamedTuple):
    """An emoji of Unicode."""

    code: str
    """Its code points without the variation selector, as `1f468-200d-1f9b2`."""
    name: str
    """Unicode's short name: `man: bald`."""

    @property
    def base(self) -> str:
        """Its code points without skin tones and signs of gender: emoji that share it are variants of one drawing."""
        return "-".join(part for part in _parts(self.code) if part not in SKIN_TONES | SIGNS_OF_GENDER)


def code_key(code: str) -> str:
    """Code points as one vendor writes them, so that all vendors agree.

    >>> code_key("1F468-200D-2764-FE0F-200D-1F468"), code_key("a9-fe0f")
    ('1f468-2764-1f468', '00a9')
    """
    return "-".join(_parts(code))


def name_key(name: str) -> str:
    """The words of a name, so that all vendors agree.

    >>> name_key("man: light skin tone, bald"), name_key("man-bald-light"), name_key("baby-default")
    ('bald light man', 'bald light man', 'baby')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower().replace("'", "")
    plain = re.sub(r"skin[ -]tone|[ -]default$", "", plain)
    return " ".join(sorted(re.findall(r"[a-z0-9]+", plain)))


class Names:
    """All emoji, found by code points or by name."""

    def __init__(self, emoji: Iterable[Emoji]) -> None:
        self.by_code = {code_key(one.code): one for one in emoji}
        keys = [name_key(one.name) for one in self.by_code.values()]
        told_twice = {key for key, count in zip(keys, map(keys.count, keys), strict=True) if count > 1}
        self.by_name = {
            key: one for key, one in zip(keys, self.by_code.values(), strict=True) if key not in told_twice
        }

    @classmethod
    def of_table(cls, rows: Iterable[Mapping[str, str]]) -> Names:
        """The emoji of OpenMoji's table: columns `hexcode`, `annotation` and `group`."""
        return cls(
            Emoji(
                "-".join(part for part in row["hexcode"].lower().split("-") if part != "fe0f"),
                row["annotation"],
            )
            for row in rows
            if row["group"] not in NOT_EMOJI
        )

    def find(self, code: str | None = None, name: str | None = None) -> Emoji | None:
        """The emoji of these code points, or of this name; None where Unicode has none, or names two so."""
        return (
            self.by_code.get(code_key(code)) if code is not None else self.by_name.get(name_key(name or ""))
        )


def _parts(code: str) -> list[str]:
    parts = (part.zfill(4) for part in re.split("[-_]", code.lower()))
    return [part for part in parts if part not in UNTOLD]

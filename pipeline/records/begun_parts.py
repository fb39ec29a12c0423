"""What unfinished parts of an embedding depend on, noted beside them: those of other settings are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...mining.artifacts import write_json
from ...mining.errors import InputError, StaleArtifactError
from ...mining.json_documents import read_json

BEGUN = "begun.json"
"""The note, in the folder of the parts."""
MADE = "*-of-*.parquet"
"""The names of parts, of any kind. A note without any binds nobody: there is nothing to lose."""


@dataclass(frozen=True)
class BegunParts:
    """The note of a folder of parts, and what they are to depend on now."""

    folder: Path
    fields: Mapping[str, Any]
    """All that the parts depend on, as JSON has it."""
    again: str
    """What drops them, for messages."""

    @property
    def _note(self) -> Path:
        return self.folder / BEGUN

    def refuse_others(self) -> None:
        """Find that parts which were begun depend on the same; those of a version that noted nothing pass.

        Raises:
            StaleArtifactError: they do not, and the message names the first field that differs; or the note is damaged.
        """
        if not (self._note.exists() and self._any_made()):
            return
        try:
            before = read_json(self._note)
        except InputError as error:
            raise StaleArtifactError(
                f"{self._note} is damaged; begin again: {self.again}", change=f"{BEGUN} is damaged"
            ) from error
        if changed := change(before if isinstance(before, dict) else {}, self.fields):
            raise StaleArtifactError(
                f"{self.folder} was begun with {changed}; finish it as it was, or begin again: {self.again}",
                change=f"begun with {changed}",
            )

    def begin(self) -> None:
        """Note what the parts depend on, unless some are made and it is noted.

        Of shards that begin at the same moment with other settings the last one's count. Parts of the others are none of
        its fingerprint.

        Raises:
            StaleArtifactError: they were begun with something else, or the note is damaged.
            InputError: the folder cannot be written.
        """
        self.refuse_others()
        if not (self._note.exists() and self._any_made()):
            write_json(self._note, dict(self.fields))

    def _any_made(self) -> bool:
        return any(self.folder.glob(MADE))


def change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first field that differs, in words; empty where none does. Another version may have fields of its own.

    >>> change({"flip": False}, {"flip": True}), change({"code": "0.0.9"}, {"code": "0.1.0"})
    ('flip=False, now it is True', 'subspace-mining 0.0.9, now it is 0.1.0')
    >>> change({"max_images": None}, {"max_images": 2}), change({}, {"flip": True})
    ('max_images=null, now it is 2', 'flip=not set, now it is True')
    """
    changed = next((key for key in ("code", *now, *before) if before.get(key) != now.get(key)), None)
    if changed is None:
        return ""
    name = "subspace-mining " if changed == "code" else f"{changed}="
    then, is_now = (fields.get(changed, "not set") for fields in (before, now))
    then, is_now = ("null" if value is None else value for value in (then, is_now))
    return f"{name}{then}, now it is {is_now}"

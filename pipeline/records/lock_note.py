""".lock: which command is at work in a run, or was when it was killed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ...mining.json_documents import Document, checked, parse_json


class LockNote(Document):
    """What a command writes into the lock that it holds."""

    command: str
    pid: int = Field(ge=1, lt=1 << 31)
    host: str
    stage: str | None = None
    """round-000/train, once it has begun its work."""
    since: float = Field(ge=0, lt=1e12)


def parse_lock_note(data: bytes | str) -> dict[str, Any] | None:
    """The note in a lock; None where it is empty.

    Raises:
        ValueError: damaged; the next command writes it anew.
    """
    return checked(parse_json(data), LockNote) if data.strip() else None

""".lock: which command is at work in a run, or was when it was killed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ...mining.json_documents import Document, checked, parse_json


class ProgressNote(Document):
    """How far the work is that has a bar: written every few seconds, gone when the bar is."""

    what: str
    done: int = Field(ge=0, lt=1 << 62)
    total: int | None = Field(default=None, ge=0, lt=1 << 62)
    unit: str
    rate: float | None = Field(default=None, ge=0, lt=1e15)
    """How many a second, of late."""
    when: float = Field(ge=0, lt=1e12)


class LockNote(Document):
    """What a command writes into the lock that it holds."""

    command: str
    pid: int = Field(ge=1, lt=1 << 31)
    host: str
    stage: str | None = None
    """round-000/train, once it has begun its work."""
    stage_since: float | None = Field(default=None, ge=0, lt=1e12)
    announced: float | None = Field(default=None, ge=0, lt=1e15)
    """Seconds that the stage was said to take."""
    progress: ProgressNote | None = None
    since: float = Field(ge=0, lt=1e12)


def parse_lock_note(data: bytes | str) -> dict[str, Any] | None:
    """The note in a lock; None where it is empty.

    Raises:
        ValueError: damaged; the next command writes it anew.
    """
    return checked(parse_json(data), LockNote) if data.strip() else None

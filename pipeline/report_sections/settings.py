"""The exact settings of a run: those that differ from the defaults first, then all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ...mining.settings import Settings
from ..configuration.config import RunConfig
from ..console import counted
from ..report.run_report import RunReport
from ..report.section import Section, fill_section

TITLE = "The exact settings"


def make_settings(report: RunReport) -> Section:
    """Settings by their keys, with the default and the sentence of each that was changed."""
    default = {key: value for key, value, _ in _flat(RunConfig(manifest=""))}
    given = list(_flat(report.settings))
    changed = [
        [key, _text(value), _text(default[key]) if key != "manifest" else "", sentence]
        for key, value, sentence in given
        if default[key] != value
    ]
    return fill_section(
        "settings",
        TITLE,
        answer=f"{counted(len(changed), 'setting')} of {len(given):,} differ from the defaults.",
        changed=changed,
        everything=[[key, _text(value)] for key, value, _ in given],
    )


def _flat(settings: Settings, above: str = "") -> Iterator[tuple[str, Any, str]]:
    """Key, value and sentence of every setting."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value, field.description or ""


def _text(value: Any) -> str:
    """A value as `section.key=value` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

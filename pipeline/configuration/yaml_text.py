"""YAML as it is read: by its events first, so that depth, size and aliases are known before anything is built of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ...mining.json_documents import read_bounded

MOST_BYTES = 1 << 20
DEEPEST = 32
"""Lists and mappings inside each other."""
MOST_NODES = 20_000
"""With what every alias stands for counted each time."""
MOST_DIGITS = 300
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_OTHER_BASES = (
    (re.compile(r"[-+]?0[0-7_]+"), "as a number to the base 8; write it without the 0 before it"),
    (
        re.compile(r"[-+]?([1-9][0-9_]*(:[0-5]?[0-9])+|[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*)"),
        "as a number to the base 60; write it as one number",
    ),
)
"""What YAML 1.1 has, and nobody means who writes a setting."""


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file that can be built without harm.

    Raises:
        InputError: missing.
        OSError: it cannot be read.
        ValueError: it is too large, no UTF-8, not YAML, or does not pass `check_yaml`; the message is a line.
    """
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start:,})") from error
    check_yaml(text)
    return text


def check_yaml(text: str) -> None:
    """Refuse YAML that would exhaust whoever builds it. Its size is that of the text, whatever it says.

    >>> check_yaml("plan: {P: 16}")
    >>> check_yaml("[" * 100_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply

    Raises:
        ValueError: it is not YAML, nested too deeply, too large once its aliases are resolved, has a tag or an
            unbounded number, or text that is no setting.
    """
    try:
        _check(yaml.parse(text, Loader=LOADER))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error


def _check(events: Iterator[yaml.Event]) -> None:
    open_at: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    nodes = 0
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_at.pop()
            if anchor:
                sizes[anchor] = nodes - before
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        nodes += 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"*{event.anchor} stands for nothing before it")
            nodes += sizes[event.anchor]
        if nodes > MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES:,} values")
        tag = getattr(event, "tag", None)
        if (tag and not tag.startswith("tag:yaml.org,2002:")) or (tag and "python" in tag):
            raise ValueError(f"it has the tag {tag}, and settings have none")
        if isinstance(event, yaml.CollectionStartEvent):
            open_at.append((event.anchor, nodes))
            if len(open_at) > DEEPEST:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, yaml.ScalarEvent):
            _check_scalar(event)
            if event.anchor:
                sizes[event.anchor] = 1


def _check_scalar(event: yaml.ScalarEvent) -> None:
    if "\0" in event.value:
        raise ValueError(f"{event.value[:40]!r} holds a null character")
    if len(event.value) > MOST_DIGITS and not event.style and event.value.lstrip("+-")[:1].isdigit():
        raise ValueError(f"{event.value[:20]}... is a number of {len(event.value):,} characters")


def check_numbers(text: str) -> None:
    """Refuse numbers of settings that YAML reads to another base than they are meant; the text has passed `check_yaml`.

    Raises:
        ValueError: one is so.
    """
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.ScalarEvent) and not event.style:
            for pattern, how in _OTHER_BASES:
                if pattern.fullmatch(event.value):
                    raise ValueError(f"YAML reads {event.value} {how}; as a text it needs quotes")

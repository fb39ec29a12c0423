"""Text for terminals: names are data that others write, and none may move the cursor or change what was said before."""

from __future__ import annotations

import re

_UNSAFE = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# controls (ESC begins all sequences; C1 has one-byte forms), line and paragraph separators, bidirectional overrides,
# and bytes of names that are not UTF-8, which Python keeps as lone surrogates
_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_IN_LINE = re.compile(f"[{_UNSAFE}\n\t]")


def printable(text: str) -> str:
    """`text` with all that a terminal would obey, other than newlines and tabs, spelt out.

    >>> printable("Ann\\x1b[2K\\n\\tBob")
    'Ann\\\\x1b[2K\\n\\tBob'
    """
    return _IN_TEXT.sub(_spelt, text)


def printable_line(text: str) -> str:
    """The same in one line: newlines and tabs are spelt out, too.

    >>> printable_line("Ann\\nsubspace: done")
    'Ann\\\\nsubspace: done'
    """
    return _IN_LINE.sub(_spelt, text)


def printable_json(text: str) -> str:
    r"""JSON that means the same, with nothing in it that a terminal obeys.

    >>> printable_json('"\x9b2K"')
    '"\\u009b2K"'
    """
    return _IN_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelt(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()

"""Quotes of a CSV, checked as its bytes pass to the parser: one that is astray would swallow the rows behind it.

The rule is RFC 4180's: a quote opens a value at the begin of a field, two within it are one, and behind the one that
closes it comes a delimiter or the end of the line. Then one stray quote makes their number odd, and one of them either
never closes or closes in front of text. Quotes in fields that do not begin with one (5" nail) are common, and kept as
parsers keep them; but not beside a value that runs over lines, since there they may be the other end of a stray one.
Where quotes stand for nothing, as in captions that begin with a quoted word, they are read as text: --quoting none.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from ...mining.errors import InputError

LONGEST = 20
"""Line ends that a value may hold unless any number is allowed; more are likelier swallowed rows."""
ALLOW = "allow such values with --newlines-in-values"
AS_TEXT = "read quotes as text like any other with --quoting none"
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'
_AT_ONCE = 1 << 20
"""Bytes that are checked together: what is counted of them stays in a cache."""


class QuoteCheck:
    """A binary file whose quotes are checked as it is read. It needs memory for about 10 MB.

    Args:
        file: what has the bytes, in UTF-8.
        delimiter: one character of ASCII.
        called: the file's name in messages.
        long_values: values may hold any number of line ends.
        quotes: whether quotes stand for anything; else lines are counted, and nothing is refused.

    Raises (from `read`):
        InputError: a quote that never closes, or behind many lines, or in front of text.

    Example:
        >>> check = QuoteCheck(io.BytesIO(b'a,b\\n1,"x\\ny"\\n'), ",", "a.csv", False)
        >>> _ = check.read(1 << 20), check.read(1 << 20)
        >>> check.lines, check.within
        (3, 1)
    """

    closed = False

    def __init__(
        self, file: Any, delimiter: str, called: str, long_values: bool = False, quotes: bool = True
    ) -> None:
        self._file, self._delimiter, self._called = file, ord(delimiter), called
        self._quotes = quotes
        self._most = np.inf if long_values else LONGEST
        self._begun = self._inside = False
        self._held = b""  # quotes and a return at the end, whose meaning shows what follows them
        self._last = _NEWLINE
        self._ends = self._opened = self._span = 0
        self._loose_line = self._spread_line = 0
        self.within = 0
        """Line ends within quotes."""
        self.loose = 0
        """Quotes in fields that do not begin with one."""

    @property
    def lines(self) -> int:
        """Lines of the file, once all of it is read; the last one may lack its end."""
        return self._ends

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the file, checked."""
        data = self._file.read(size)
        if not data:
            self._finish()
        for begin in range(0, len(data), _AT_ONCE):
            some = data[begin : begin + _AT_ONCE]
            self._check(some if self._begun else some.removeprefix(b"\xef\xbb\xbf"))
            self._begun = True
        return data

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def close(self) -> None:
        """Close the file below."""
        self.closed = True
        self._file.close()

    def _finish(self) -> None:
        if self._held or self._last not in (_NEWLINE, _RETURN):
            held, self._held = self._held, b""
            self._check(held if held.endswith(b"\r") else held + b"\n", final=True)
        if self._inside:
            raise self._error(self._opened, "the quote there never closes; close or remove it")

    def _check(self, data: bytes, final: bool = False) -> None:
        data = self._held + data if self._held else data
        whole = data if final else data.rstrip(b'"\r')
        data, self._held = whole, data[len(whole) :]
        if not data:
            return
        if not self._quotes or (not self._inside and b'"' not in data):
            self._ends += data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
            # a return in front of a line feed that was held is one end with it
        else:
            self._check_quotes(data)
        self._last = data[-1]

    def _check_quotes(self, data: bytes) -> None:
        text = np.frombuffer(data, np.uint8)
        ends = _line_ends(text, b"\r" in data)
        quotes = np.flatnonzero(text == _QUOTE)
        first = np.flatnonzero(np.diff(quotes, prepend=-2) != 1)  # of a run of quotes
        start = quotes[first]
        length = np.diff(first, append=len(quotes))
        before = text[start - 1]
        if len(start) and start[0] == 0:
            before[0] = self._last
        at_begin = self._ends_field(before)
        odd = (length & 1).astype(bool)
        inside = (np.cumsum(odd) - odd + self._inside) & 1 == 1
        if (~inside & ~at_begin).any():
            inside = self._one_by_one(odd, at_begin)
            loose = ~inside & ~at_begin
            self.loose += int(length[loose].sum())
            self._loose_line = self._loose_line or self._line(ends, start[np.argmax(loose)])
            odd &= ~loose
        closes = np.where(inside, odd, ~odd & at_begin)
        behind = np.minimum(start + length, len(text) - 1)
        wrong = closes & ~self._ends_field(text[behind])
        if wrong.any():
            raise self._error(
                self._line(ends, start[np.argmax(wrong)]),
                "text behind a quote that closes a value; remove it, or write the value in quotes and each quote within it "
                "as two",
            )
        opens = ~inside & odd
        self._count_within(ends, start, inside ^ odd, opens)
        if self._loose_line and self._spread_line:
            raise self._error(
                self._loose_line,
                f"a quote within a value, and the value that one opens in line {self._spread_line:,} runs over lines: either may "
                "be astray; write a quote within a value as two, in quotes",
            )
        self._ends += len(ends)

    def _count_within(
        self, ends: np.ndarray, start: np.ndarray, inside_after: np.ndarray, opens: np.ndarray
    ) -> None:
        """Count the line ends of each value that holds some."""
        run = np.searchsorted(start, ends) - 1  # the last in front of each end; -1: none
        within = np.append(inside_after, self._inside)[run]
        self.within += int(np.count_nonzero(within))
        # Runs of two quotes within a value do not end it: the value is that of the last run that opens one.
        opener = np.maximum.accumulate(np.where(opens, np.arange(len(start)), -1))
        owner = np.append(opener, -1)[run[within]]  # -1: the value that was open before
        values, spans = np.unique(owner, return_counts=True)
        if len(values) and values[0] < 0:
            spans[0] += self._span
        if len(values):
            longest = int(np.argmax(spans > self._most)) if (spans > self._most).any() else 0
            line = self._opened if values[longest] < 0 else self._line(ends, start[values[longest]])
            self._spread_line = self._spread_line or line
            if spans[longest] > self._most:
                raise self._error(
                    line,
                    f"the value that a quote opens there runs over more than {LONGEST} lines, as rows behind a stray one do; "
                    f"remove the quote, or {ALLOW}",
                )
        if len(start):
            self._inside = bool(inside_after[-1])
            if opener[-1] >= 0:
                self._opened = self._line(ends, start[opener[-1]])
                self._span = 0
        last = int(opener[-1]) if len(start) else -1
        if len(values) and values[-1] == last:
            self._span = int(spans[-1])

    def _one_by_one(self, odd: np.ndarray, at_begin: np.ndarray) -> np.ndarray:
        """Whether each run of quotes begins within a value, where some are in fields that do not begin with one."""
        inside, found = self._inside, []
        for is_odd, begins in zip(odd.tolist(), at_begin.tolist(), strict=True):
            found.append(inside)
            inside ^= is_odd and (inside or begins)
        return np.array(found, bool)

    def _ends_field(self, text: np.ndarray) -> np.ndarray:
        return (text == self._delimiter) | (text == _NEWLINE) | (text == _RETURN)

    def _line(self, ends: np.ndarray, place: Any) -> int:
        """The line of a place among those that are checked."""
        return self._ends + 1 + int(np.searchsorted(ends, place))

    def _error(self, line: int, problem: str) -> InputError:
        return InputError(f"{self._called}, line {line:,}: {problem}; or {AS_TEXT}")


def _line_ends(text: np.ndarray, returns: bool) -> np.ndarray:
    """Places of line feeds, and of returns without one behind them."""
    feeds = text == _NEWLINE
    if returns:
        alone = text == _RETURN
        alone[:-1] &= ~feeds[1:]
        feeds |= alone
    return np.flatnonzero(feeds)


def line_of_spread(file: io.TextIOBase, delimiter: str, name: str) -> int:
    """The line in which the first row begins whose column `name` holds a line end; 0 where none is found.

    It reads the file anew, with Python's parser, and so is for messages alone.

    Example:
        >>> line_of_spread(io.StringIO('a,b\\n1,2\\n"x\\ny",3\\n'), ",", "a")
        3
    """
    rows = csv.reader(file, delimiter=delimiter)
    try:
        place, line = next(rows).index(name), rows.line_num + 1
        for row in rows:
            if place < len(row) and ("\n" in row[place] or "\r" in row[place]):
                return line
            line = rows.line_num + 1
    except csv.Error:  # a value longer than that parser takes
        pass
    return 0

"""Rows of images put in order by identity, and the identities' means.

Identities stand in the order of their names, and the images of each in the order in which they came. So the order is a
function of the rows: adding some and then others gives what all at once give.

Shapes: n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..clustering.means import identity_means
from ..errors import InputError

ROWS_AT_A_TIME = 65_536


@dataclass(frozen=True)
class IdentityRows:
    """Where each row goes.

    Example:
        >>> rows = order_rows([(np.array([0, 1, 0]), ["bob", "ann"]), (np.array([0]), ["bob"])])
        >>> rows.names, rows.offset, rows.place  # ann's image comes first, then bob's three
        (['ann', 'bob'], array([0, 1, 4]), array([1, 0, 2, 3]))
    """

    names: list[str]
    """Names of the identities, I in order."""
    offset: np.ndarray
    """int64[I+1]: identity i has the rows from `offset[i]` to `offset[i+1]`."""
    place: np.ndarray
    """int64[n], the row that each given one becomes."""


def order_rows(parts: Sequence[tuple[np.ndarray, list[str]]]) -> IdentityRows:
    """Put the rows of several parts in order.

    Args:
        parts: of each, the identity of its rows as int[n], and the identities' names by that number.
    """
    names = sorted(set().union(*(part_names for _, part_names in parts)))
    number = {name: at for at, name in enumerate(names)}
    identity_n = np.concatenate(
        [
            np.array([number[name] for name in part_names], np.int64)[identity]
            for identity, part_names in parts
        ]
    )
    used = np.bincount(identity_n, minlength=len(names))
    if not used.all():
        raise InputError(f"identity {names[int(np.argmin(used))]!r} has no image")
    place_n = np.empty(len(identity_n), np.int64)
    place_n[np.argsort(identity_n, kind="stable")] = np.arange(len(identity_n))
    return IdentityRows(names, np.append(0, np.cumsum(used)).astype(np.int64), place_n)


def means_of_rows(rows_nD: np.ndarray, offset_I: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the means of the identities in order, float32[i, D] of unit length, some identities at a time.

    An identity's mean does not depend on which others stand beside it. Memory: `ROWS_AT_A_TIME` rows, or those of the
    largest identity.
    """
    start, identities = 0, len(offset_I) - 1
    while start < identities:
        most = offset_I[start] + ROWS_AT_A_TIME
        stop = max(start + 1, int(np.searchsorted(offset_I, most, side="right")) - 1)
        rows = rows_nD[offset_I[start] : offset_I[stop]].astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)  # float16 rounds lengths
        identity = np.repeat(np.arange(stop - start, dtype=np.int32), np.diff(offset_I[start : stop + 1]))
        yield from (means.mean for means in identity_means([(identity, rows)]))
        start = stop

"""Columns that were taken by their names and cannot be what these say: identities of one image each, groups without a pair."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from .columns import IDENTITY_NAMES, PATH_NAMES


class ColumnDoubts:
    """Counts images and groups of identities, as rows pass, and says what does not fit.

    Args:
        source: what messages call it.
        guessed: columns by their roles that were taken by custom, not by an option.
        unused: columns that say nothing so far.
    """

    def __init__(self, source: str, guessed: Mapping[str, str], unused: Sequence[str]) -> None:
        self._source, self._guessed, self._unused = (
            source,
            guessed,
            [name for name in unused if name.lower() not in PATH_NAMES],
        )
        self._identities = self._single = self._paired = 0
        self._grouped = False

    def add(self, rows: pa.Table) -> None:
        """Count all rows of some identities: identity_id, and group where it is known."""
        identity = rows["identity_id"].to_numpy()
        images = np.bincount(identity)
        self._identities += int(np.count_nonzero(images))
        self._single += int(np.count_nonzero(images == 1))
        if "group" not in rows.column_names:
            return
        group = rows["group"]
        if pc.all(pc.equal(group, ""), min_count=0).as_py():
            self._paired += int(np.count_nonzero(images > 1))
            return
        self._grouped = True
        code = pc.index_in(group, value_set=group.unique()).to_numpy()
        lowest, highest = np.full(len(images), len(code)), np.full(len(images), -1)
        np.minimum.at(lowest, identity, code)
        np.maximum.at(highest, identity, code)
        unknown = np.bincount(identity, pc.equal(group, "").to_numpy(), minlength=len(images)) > 0
        self._paired += int(np.count_nonzero((images > 1) & ((lowest < highest) | unknown)))

    def notes(self) -> list[str]:
        """What does not fit, of columns that an option named, or where there is no other.

        Raises:
            InputError: it is a column that was taken by custom, and another may be meant.
        """
        return [*self._of_identity(), *self._of_group()]

    def _of_identity(self) -> list[str]:
        name, single, identities = self._guessed.get("identity", ""), self._single, self._identities
        others = [other for other in self._unused if other.lower() in IDENTITY_NAMES]
        unsure = bool(name) and name.lower() != "identity"
        weak = name.lower() == "id"  # of whatever stands in the row
        if unsure and identities > 1 and single == identities and (self._unused or weak):
            other = (
                f"name one of {', '.join(self._unused[:6])}" if self._unused else "name the column that does"
            )
            raise InputError(
                f"{self._source}: column '{name}' is another for every image, so it does not say who is in them; {other} with "
                f"--identity-column, or {name} if it is right"
            )
        if unsure and 2 * single > identities and others:
            raise InputError(
                f"{self._source}: {single:,} of {identities:,} identities in column '{name}' have one image, and column "
                f"'{others[0]}' may say who is in them; name one of the two with --identity-column"
            )
        if identities > 1 and single == identities:
            other = "; --identity-column names another column" if name else ""
            return [f"no identity has two images, so there is no pair to learn from or to test{other}"]
        return []

    def _of_group(self) -> list[str]:
        pairable = self._identities - self._single
        if not self._grouped or not pairable or self._paired:
            return []
        name = self._guessed.get("group")
        problem = "all images of every identity have one group, and a test pair must not share it: nothing can be tested"
        if name is None:
            return [problem]
        raise InputError(
            f"{self._source}: column '{name}' is taken as the group, and {problem}; leave it aside with --no-group-column, or "
            f"keep it with --group-column {name}"
        )

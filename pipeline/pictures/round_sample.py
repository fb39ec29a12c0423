"""Whole subspaces of a round, drawn by seed, with the means of their identities: what a report looks at more closely.

Shapes: I identities of the round, R of them drawn, D numbers in a mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...mining.clustering.mean_blocks import MeanBlocks
from ...mining.clustering.mean_table import MeanTable
from ...mining.randomness import generator
from ..stage_folder import StageFolder
from ..stages.round_tables import read_identities, read_subspaces

MOST_SUBSPACES, MOST_IDENTITIES = 12, 60_000
"""Drawn; the means of 60,000 identities of 512 numbers are 120 MB."""


@dataclass(frozen=True)
class RoundSample:
    """Some subspaces of a round.

    >>> list(RoundSample.__dataclass_fields__)[:3]
    ['folder', 'identity_id', 'names']
    """

    folder: StageFolder
    identity_id: np.ndarray
    """int32[I], of all identities of the round, ascending."""
    names: pa.ChunkedArray
    """[I]."""
    subspace_id: np.ndarray
    """int32[I]."""
    subspaces: np.ndarray
    """int32[S], those drawn, ascending."""
    rows: np.ndarray
    """int64[R], of their members among all identities, ascending."""
    whole: bool
    """Whether these are all members; False where one subspace alone has too many."""
    means: np.ndarray
    """float32[R, D]."""

    @classmethod
    def draw(
        cls,
        folder: StageFolder,
        seed: int,
        *,
        subspaces: int = MOST_SUBSPACES,
        identities: int = MOST_IDENTITIES,
    ) -> RoundSample:
        """Draw subspaces until there are enough of them, or of their identities; at least one. One pass over the means.

        Raises:
            DamagedFileError: a table of the round is damaged.
        """
        table, subspace_id = read_identities(folder, ["identity_id", "identity"]), read_subspaces(folder)
        size = np.bincount(subspace_id)
        order = generator(seed, "report subspaces").permutation(np.flatnonzero(size))[:subspaces]
        fits = np.cumsum(size[order]) <= identities
        fits[0] = True
        drawn = np.sort(order[fits]).astype(np.int32)
        rows = np.flatnonzero(np.isin(subspace_id, drawn))
        whole = len(rows) <= identities
        if not whole:
            rows = np.sort(generator(seed, "report members").choice(rows, identities, replace=False))
        means = MeanBlocks(MeanTable(folder.identities)).rows(rows)
        return cls(
            folder, table["identity_id"].to_numpy(), table["identity"], subspace_id, drawn, rows, whole, means
        )

    @property
    def home(self) -> np.ndarray:
        """int32[R], the subspace of each drawn identity."""
        return self.subspace_id[self.rows]

    def name(self, row: int | np.integer) -> str:
        """The name of an identity by its row among all."""
        return self.names[int(row)].as_py()

    def in_words(self) -> str:
        """What was drawn, for a sentence."""
        total = int(self.subspace_id.max()) + 1
        if len(self.subspaces) == total and self.whole:
            return f"all {len(self.rows):,} identities of the {total:,} subspaces"
        if self.whole:
            return f"{len(self.subspaces):,} of {total:,} subspaces, drawn by lot, with all their {len(self.rows):,} identities"
        return f"{len(self.rows):,} identities, drawn by lot from a subspace that has more"

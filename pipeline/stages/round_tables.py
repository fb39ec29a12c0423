"""What later stages read of a round: its identities, their subspaces and duplicates (their means: `MeanTable`)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from ...mining.parquet_tables import open_parquet, read_parquet
from ...mining.schemas import DUPLICATES, IDENTITIES, SUBSPACES
from ..stage_folder import StageFolder


def read_identities(folder: StageFolder, columns: list[str] | None = None) -> pa.Table:
    """The identities table of a round (only `columns`, when given)."""
    return read_parquet(folder.identities, IDENTITIES, columns)


def read_subspaces(folder: StageFolder) -> np.ndarray:
    """The subspace of every identity of a round, in the order of the identities table: int32[N]."""
    return read_parquet(folder.subspaces, SUBSPACES, ["subspace_id"])["subspace_id"].to_numpy()


def read_second_subspaces(folder: StageFolder) -> np.ndarray | None:
    """The second subspace of every identity of a round, -1 for none: int32[N]; None without overlap."""
    path = folder.subspaces
    if open_parquet(path, SUBSPACES).schema_arrow.get_field_index("second_subspace_id") < 0:
        return None
    column = read_parquet(path, SUBSPACES, ["second_subspace_id"])["second_subspace_id"]
    return column.fill_null(-1).to_numpy()


def read_duplicates(folder: StageFolder, identity_id: np.ndarray) -> np.ndarray:
    """The suspected duplicates of a round among some of its identities: int64[p, 2], row numbers into these.

    Args:
        identity_id: int32[I], ascending.

    Raises:
        InputError: the round has not looked for any.
    """
    if not folder.duplicates.exists():
        raise InputError(
            f"{folder} has no {folder.duplicates.name}; set cluster.duplicates_within and smaller subspaces, or "
            f"plan.duplicates=together"
        )
    sides = ["identity_id_a", "identity_id_b"]
    pairs = read_parquet(folder.duplicates, DUPLICATES, sides)
    pairs_p2 = np.stack([pairs[side].to_numpy() for side in sides], axis=1)
    return np.searchsorted(identity_id, pairs_p2[np.isin(pairs_p2, identity_id).all(axis=1)])

"""What later stages read of a round: its identities, their subspaces and duplicates (their means: `MeanTable`)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...mining.clustering.duplicate_trust import LISTED, DuplicateTrust, judge_duplicates, mutual_pairs
from ...mining.errors import DamagedFileError, InputError
from ...mining.parquet_tables import open_parquet, read_parquet
from ...mining.schemas import CENTROIDS, DUPLICATES, IDENTITIES, QUARANTINE, SUBSPACES
from ..stage_folder import StageFolder


def read_identities(folder: StageFolder, columns: list[str] | None = None) -> pa.Table:
    """The identities table of a round (only `columns`, when given)."""
    return read_parquet(folder.identities, IDENTITIES, columns)


def read_subspaces(folder: StageFolder) -> np.ndarray:
    """The subspace of every identity of a round, in the order of the identities table: int32[N].

    Raises:
        DamagedFileError: its identities are not those of the round, or a subspace has no centroid.
    """
    found = read_parquet(folder.subspaces, SUBSPACES, ["identity_id", "subspace_id"])
    identity_id = read_identities(folder, ["identity_id"])["identity_id"]
    if len(found) != len(identity_id) or not found["identity_id"].equals(identity_id):
        raise DamagedFileError(
            f"{folder.subspaces} is damaged: its {len(found):,} identities are not the {len(identity_id):,} of "
            f"{folder.identities}",
            str(folder.subspaces),
        )
    subspace_id = found["subspace_id"].to_numpy()
    _check_centroids(folder, int(subspace_id.max(initial=-1)))
    return subspace_id


def _check_centroids(folder: StageFolder, last: int) -> None:
    """Refuse centroids that are fewer than the subspaces, or of another width than the means."""
    centroids, means = open_parquet(folder.centroids, CENTROIDS), open_parquet(folder.identities, IDENTITIES)
    widths = [
        file.schema_arrow.field(name).type.list_size
        for file, name in ((centroids, "centroid"), (means, "mean"))
    ]
    problem = f"centroids of {widths[0]} numbers, and means of {widths[1]}" if widths[0] != widths[1] else ""
    if centroids.metadata.num_rows <= last:
        problem = f"{centroids.metadata.num_rows:,} centroids, and a subspace {last:,} in {folder.subspaces}"
    if problem:
        raise DamagedFileError(f"{folder.centroids} is damaged: {problem}", str(folder.centroids))


def read_quarantine(folder: StageFolder, images: int) -> np.ndarray:
    """The images of a round that could not be read, int64[n].

    Args:
        images: rows of the manifest.

    Raises:
        DamagedFileError: one is not in the manifest.
    """
    image_id = read_parquet(folder.quarantine, QUARANTINE, ["image_id"])["image_id"].to_numpy()
    outside = image_id[(image_id < 0) | (image_id >= images)]
    if len(outside):
        raise DamagedFileError(
            f"{folder.quarantine} is damaged: it has image {outside[0]:,}, and the manifest has 0 to {images - 1:,}",
            str(folder.quarantine),
        )
    return image_id


def read_second_subspaces(folder: StageFolder) -> np.ndarray | None:
    """The second subspace of every identity of a round, -1 for none: int32[N]; None without overlap."""
    path = folder.subspaces
    if open_parquet(path, SUBSPACES).schema_arrow.get_field_index("second_subspace_id") < 0:
        return None
    column = read_parquet(path, SUBSPACES, ["second_subspace_id"])["second_subspace_id"]
    second = column.fill_null(-1).to_numpy()
    _check_centroids(folder, int(second.max(initial=-1)))
    return second


def validated_rank_1(folder: StageFolder) -> float | None:
    """Rank-1 of the network of a folder on the validation identities; None where that was not measured."""
    if not folder.finished("validate"):
        return None
    return folder.examined("validate")["metrics"].get("Rank-1", {}).get("value")


def read_duplicate_trust(folder: StageFolder) -> DuplicateTrust | None:
    """How much the suspected duplicates of a round are worth; None where it has not looked for any."""
    if not folder.duplicates.exists():
        return None
    pairs = read_parquet(folder.duplicates, DUPLICATES, ["identity_id_a", "identity_id_b"])
    a, b = (pairs[f"identity_id_{side}"].to_numpy() for side in "ab")
    return judge_duplicates(a, b, open_parquet(folder.identities, IDENTITIES).metadata.num_rows)


def read_likely_duplicates(folder: StageFolder, at_most: int = LISTED) -> pa.Table:
    """The suspected duplicates of a round that are worth a look: each the other's nearest, the most similar first.

    Args:
        at_most: pairs that are returned.

    Raises:
        InputError: the round has not looked for any.
    """
    pairs = read_parquet(folder.duplicates, DUPLICATES)
    a, b, similarity = (pairs[name].to_numpy() for name in ("identity_id_a", "identity_id_b", "similarity"))
    return pairs.take(pa.array(mutual_pairs(a, b, similarity)[:at_most]))


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

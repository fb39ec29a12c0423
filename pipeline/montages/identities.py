"""Sheets of identities: the images of one, or an image of each of some identities of a subspace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.parquet_tables import read_parquet
from ...mining.schemas import SUBSPACES
from .sheet import Cell, Sheet


def identity_sheet(manifest: Manifest, name: str, most: int) -> Sheet:
    """A sheet of the images of an identity, each with its split and its number in the manifest.

    Raises:
        InputError: nobody is called so.
    """
    same = pc.equal(manifest.table["identity"], name)  # pyright: ignore[reportAttributeAccessIssue]
    rows = np.flatnonzero(same.to_numpy())
    if not len(rows):
        raise InputError(
            f"no identity of {manifest.path} is called '{name}'; names are spelt as in its column identity"
        )
    shown = rows[:most]
    count = f"the first {most} of {len(rows):,}" if most < len(rows) else f"{len(rows):,}"
    sheet = Sheet(f"{name}: {count} {'image' if len(rows) == 1 else 'images'}")
    split = manifest.table["split"].take(shown).to_pylist()
    sheet.add_grid(
        [
            Cell(row, (f"{row:,}", f"{split[place]}{'' if manifest.keep[row] else ', not kept'}"))
            for place, row in enumerate(shown.tolist())
        ]
    )
    return sheet


def subspace_sheet(manifest: Manifest, subspaces: Path, number: int, most: int) -> Sheet:
    """A sheet of the identities of a subspace that are nearest to its centroid, one image each, with their cosines to it.

    Raises:
        InputError: there is no such subspace.
    """
    table = read_parquet(subspaces, SUBSPACES)
    subspace_id = table["subspace_id"].to_numpy()
    members = np.flatnonzero(subspace_id == number)
    if not len(members):
        last = int(subspace_id.max(initial=-1))
        raise InputError(f"{subspaces} has subspaces 0 to {last:,}; --subspace {number} is none of them")
    similarity = table["similarity"].to_numpy()[members]
    order = np.argsort(-similarity, kind="stable")[:most]
    identity_id = table["identity_id"].to_numpy()[members[order]]
    rows = first_rows(manifest, identity_id)
    names = manifest.table["identity"].take(rows).to_pylist()
    which = f"{len(rows)} of {len(members):,}" if most < len(members) else f"all {len(members):,}"
    sheet = Sheet(
        f"{subspaces.parent.name}, subspace {number:,}: {which} identities, nearest to its centroid first, with cosines to it"
    )
    sheet.add_grid(
        [
            Cell(row, (str(name), f"{similarity[place]:.3f}"))
            for row, name, place in zip(rows.tolist(), names, order.tolist(), strict=True)
        ]
    )
    return sheet


def first_rows(manifest: Manifest, identity_id: np.ndarray) -> np.ndarray:
    """The first row of each identity in the manifest, which is sorted by identity.

    Raises:
        InputError: one of them is not in it.
    """
    own = manifest.identity_id
    rows = np.searchsorted(own, identity_id)
    if len(own) == 0 or not np.array_equal(own[np.minimum(rows, len(own) - 1)], identity_id):
        raise InputError(
            f"{manifest.path} lacks identities of this table: it is another manifest than the run's"
        )
    return rows

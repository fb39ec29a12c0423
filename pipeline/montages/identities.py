"""Sheets of identities: the images of one, or an image of each of some identities of a subspace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.manifest import IdentityImages, Manifest
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


def subspace_sheet(
    manifest: Manifest, subspaces: Path, number: int, most: int, seen: IdentityImages
) -> Sheet:
    """A sheet of the identities of a subspace that are nearest to its centroid, one image each, with their cosines to it.

    Args:
        seen: images that show them; another only of an identity that has none there.

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
    rows = [int(images_of(manifest, seen, identity)[0]) for identity in identity_id.tolist()]
    names = manifest.table["identity"].take(rows).to_pylist()
    which = f"{len(rows)} of {len(members):,}" if most < len(members) else f"all {len(members):,}"
    sheet = Sheet(
        f"{subspaces.parent.name}, subspace {number:,}: {which} identities, nearest to its centroid first, with cosines to it"
    )
    sheet.add_grid(
        [
            Cell(row, (str(name), f"{similarity[place]:.3f}"))
            for row, name, place in zip(rows, names, order.tolist(), strict=True)
        ]
    )
    return sheet


def images_of(manifest: Manifest, seen: IdentityImages, identity_id: int) -> np.ndarray:
    """Rows of the images of an identity that are in `seen`; all that the manifest has of it where none is.

    Raises:
        InputError: it is not in the manifest.
    """
    place = int(np.searchsorted(seen.identity_id, identity_id))
    if place < len(seen) and seen.identity_id[place] == identity_id:
        return seen.image_id[seen.offset[place] : seen.offset[place + 1]]
    first, end = np.searchsorted(manifest.identity_id, [identity_id, identity_id + 1]).tolist()
    if first == end:
        raise InputError(
            f"{manifest.path} lacks identities of this table: it is another manifest than the run's"
        )
    return np.arange(first, end)

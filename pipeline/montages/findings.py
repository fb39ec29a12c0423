"""Sheets of what a run found: suspected duplicates as two columns, images that could not be read, suspects of cleaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.clustering.duplicate_trust import mutual_pairs
from ...mining.errors import InputError
from ...mining.manifest import IdentityImages, Manifest
from ...mining.parquet_tables import read_parquet
from ...mining.schemas import DUPLICATES, QUARANTINE, SUSPECTS
from .identities import images_of
from .sheet import Cell, Sheet, SheetRow

OF_A_SIDE = 3
"""Images of each identity of a pair."""
NOTHING = Cell(None)


def pairs_sheet(manifest: Manifest, duplicates: Path, most: int, seen: IdentityImages) -> Sheet:
    """A sheet of suspected duplicates, a pair a row: each the other's nearest, most similar first, images on either side.

    Args:
        seen: images that show the identities; others only of one that has none there.

    Raises:
        InputError: there is no pair, or the manifest is another one.
    """
    table = read_parquet(duplicates, DUPLICATES)
    _refuse_none(table.num_rows, duplicates, "pair is suspected")
    a, b, similarity = (table[name].to_numpy() for name in ("identity_id_a", "identity_id_b", "similarity"))
    likely = mutual_pairs(a, b, similarity)  # a crowd of look-alikes does not fill the sheet
    pairs = table.take(pa.array(likely[:most])).to_pylist()
    sheet = Sheet(
        f"{duplicates.parent.name}: suspected duplicates, {_some(most, len(likely), 'pairs')}, each the other's "
        "nearest, with the cosine of two halves of one identity"
    )
    for pair in pairs:
        sides = [
            _side(images_of(manifest, seen, pair[f"identity_id_{side}"]), pair[f"identity_{side}"])
            for side in "ab"
        ]
        label = (f"cosine {pair['similarity']:.3f}", f"of halves {pair['expected']:.3f}")
        sheet.rows.append(SheetRow([*sides[0], NOTHING, *sides[1]], label))
    return sheet


def _side(image_id: np.ndarray, name: str) -> list[Cell]:
    """Images of an identity from its first to its last, below them its name and how many there are."""
    count = len(image_id)
    places = np.unique(np.linspace(0, count - 1, min(OF_A_SIDE, count)).round().astype(np.int64))
    images = "1 image" if count == 1 else f"{count:,} images"
    cells = [Cell(row) for row in image_id[places].tolist()]
    cells[0] = Cell(cells[0].row, (str(name), images), OF_A_SIDE)
    return cells + [NOTHING] * (OF_A_SIDE - len(cells))


def quarantine_sheet(manifest: Manifest, quarantine: Path, most: int) -> Sheet:
    """A sheet of images that could not be read: as much of each as can be, and what is wrong.

    Raises:
        InputError: all could be read.
    """
    table = read_parquet(quarantine, QUARANTINE)
    _refuse_none(table.num_rows, quarantine, "image was unreadable")
    sheet = Sheet(
        f"{quarantine.parent.name}: {_some(most, table.num_rows, 'unreadable images')}", lenient=True
    )
    cells = []
    for row in table.slice(0, most).to_pylist():
        _check_is_in(manifest, row["image_id"])
        file = "inline" if not row["uri"] else Path(row["uri"]).name
        cells.append(Cell(row["image_id"], (row["identity"], file, row["reason"]), spans=2))
        cells.append(NOTHING)
    sheet.add_grid(cells)
    return sheet


def suspects_sheet(manifest: Manifest, suspects: Path, most: int, seen: IdentityImages) -> Sheet:
    """A sheet of what cleaning suspects, as the table has it: the image, and the other one that it resembles.

    Args:
        seen: images that show an identity as a whole; another only of one that has none there.

    Raises:
        InputError: nothing is suspected.
    """
    table = read_parquet(suspects, SUSPECTS)
    _refuse_none(table.num_rows, suspects, "image is suspected")
    sheet = Sheet(f"{suspects.parent.name}: {_some(most, table.num_rows, 'cleaning suspects')}")
    for row in table.slice(0, most).to_pylist():
        cells = []
        for image, name, own in (
            (row["image_id"], row["identity"], row["identity_id"]),
            (row["other_image_id"], row["other_identity"], row["other_identity_id"]),
        ):
            if image is None and own is not None:  # an identity as a whole
                image = int(images_of(manifest, seen, own)[0])
            if image is not None:
                _check_is_in(manifest, image)
                cells += [Cell(image, (str(name), f"{image:,}"), spans=2), NOTHING]
        sheet.rows.append(SheetRow(cells, (str(row["reason"]), f"score {row['score']:.3f}")))
    return sheet


def _some(most: int, count: int, things: str) -> str:
    if most < count:
        return f"the first {most:,} of {count:,} {things}"
    return f"{count:,} {things if count != 1 else things.removesuffix('s')}"


def _refuse_none(count: int, path: Path, what: str) -> None:
    if not count:
        raise InputError(f"{path}: no {what}, so there is nothing to draw")


def _check_is_in(manifest: Manifest, image: int) -> None:
    if not 0 <= image < len(manifest):
        raise InputError(f"{manifest.path} has no image {image:,}: it is another manifest than the run's")

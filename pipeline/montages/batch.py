"""A batch of a plan as a sheet: an identity a row, groups of look-alikes apart from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ...mining.clustering.hardness import nearest_in_batches
from ...mining.clustering.mean_blocks import MeanBlocks
from ...mining.clustering.mean_table import MeanTable
from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.parquet_tables import open_parquet, read_parquet, read_row_group
from ...mining.planning.settings import PlanConfig
from ...mining.schemas import IDENTITIES, PLAN
from ..stage_folder import StageFolder
from .sheet import Cell, Sheet, SheetRow


def batch_sheet(
    folder: StageFolder,
    parts: Sequence[Path],
    number: int,
    most: int,
    manifest: Manifest,
    settings: PlanConfig,
) -> Sheet:
    """A sheet of batch `number`, counted from 0, as the steps of a training are.

    Args:
        folder: the round that it is of; its means say how near an identity's nearest other is, where they are there.
        parts: the files of the plan.
        most: identities to show.
        settings: of the plan, where its marker does not say them.

    Raises:
        InputError: the plan has no such batch.
    """
    subspace, identity_P, image_PK = _read_batch(parts, number)
    P = len(identity_P)
    K = len(image_PK) // P
    names = [_name(manifest, row) for row in image_PK[::K].tolist()]
    nearest = _nearest(folder, identity_P)
    drawn = f"from subspace {subspace:,}" if subspace >= 0 else "from all identities"
    shown = f"the first {most} of {P}" if most < P else f"{P}"
    beside = "" if nearest is None else "; beside each name the cosine to the nearest other of the batch"
    sheet = Sheet(f"{folder.name}, batch {number:,} {drawn}: {shown} identities, {K} images each{beside}")
    starts = _starts(settings_of(folder, settings), P)
    for place in range(min(most, P)):
        cosine = "" if nearest is None else f"nearest {nearest[place]:.3f}"
        cells = [Cell(row) for row in image_PK[place * K : (place + 1) * K].tolist()]
        sheet.rows.append(SheetRow(cells, (names[place], cosine), starts.get(place)))
    return sheet


def settings_of(folder: StageFolder, otherwise: PlanConfig) -> PlanConfig:
    """The settings that a finished plan was made with; those of now where its marker says none."""
    if not folder.finished("plan"):
        return otherwise
    fields = folder.record("plan")["fields"]
    own = {name: fields[f"plan.{name}"] for name in PlanConfig.model_fields if f"plan.{name}" in fields}
    try:
        return PlanConfig.model_validate(own)
    except ValidationError:
        return otherwise


def _starts(settings: PlanConfig, P: int) -> dict[int, str]:
    """Headings by the place that they stand above: of each group, and of the identities from anywhere."""
    g, groups = settings.draw.group_size, settings.seeds_per_batch
    if settings.P != P:
        return {}
    starts = {
        number * g: f"group {number + 1} of {groups}: {g} look-alikes" for number in range(groups) if g > 1
    }
    if 0 < g * groups < P:
        starts[g * groups] = f"{P - g * groups} from all identities"
    return starts


def _read_batch(parts: Sequence[Path], number: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Subspace, identity ids and image ids of a batch; one row group is read."""
    left = number
    for part in parts:
        metadata = open_parquet(part, PLAN).metadata
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if left < rows:
                row = read_row_group(part, PLAN, group).slice(left, 1)
                identity_P, image_PK = (
                    np.array(row[name][0].as_py()) for name in ("identity_ids", "image_ids")
                )
                return row["subspace_id"][0].as_py(), identity_P, image_PK
            left -= rows
    batches = number - left
    raise InputError(
        f"{parts[0].parent} has {batches:,} batches, 0 to {batches - 1:,}; --batch {number} is none of them"
    )


def _nearest(folder: StageFolder, identity_P: np.ndarray) -> np.ndarray | None:
    """Cosine of each identity's mean to the nearest other of the batch; None where the means are not of these."""
    if not folder.identities.exists():
        return None
    known = read_parquet(folder.identities, IDENTITIES, ["identity_id"])["identity_id"].to_numpy()
    if not np.isin(identity_P, known).all():
        return None
    rows, place = np.unique(np.searchsorted(known, identity_P), return_inverse=True)
    return nearest_in_batches(MeanBlocks(MeanTable(folder.identities)).rows(rows), place[None])[0]


def _name(manifest: Manifest, row: int) -> str:
    return str(manifest.table["identity"][row].as_py())

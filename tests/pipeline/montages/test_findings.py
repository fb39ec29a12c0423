"""Sheets from small tables: who stands where, with which words. Covers pipeline/montages/batch.py,
pipeline/montages/identities.py, pipeline/montages/partial_image.py and pipeline/montages/sheet.py, too.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from subspace.mining import Manifest, PlanConfig
from subspace.mining.errors import InputError
from subspace.mining.schemas import DUPLICATES, PLAN, QUARANTINE, SUBSPACES, SUSPECTS
from subspace.pipeline.montages.batch import batch_sheet
from subspace.pipeline.montages.findings import pairs_sheet, quarantine_sheet, suspects_sheet
from subspace.pipeline.montages.identities import identity_sheet, subspace_sheet
from subspace.pipeline.montages.partial_image import readable_part
from subspace.pipeline.stage_folder import StageFolder
from subspace.train import ImageStore


@pytest.fixture
def manifest() -> Manifest:
    """Identities a, b and c with three, one and two images; the last is cut short."""
    images = []
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(file := io.BytesIO(), "PNG")
        images.append(file.getvalue())
    images[-1] = images[-1][: len(images[-1]) // 2]
    columns = {
        "identity": ["a", "a", "a", "b", "c", "c"], "identity_id": pa.array([0, 0, 0, 1, 2, 2], pa.int32()),
        "uri": [""] * 6, "offset": pa.nulls(6, pa.int64()), "length": pa.nulls(6, pa.int64()),
        "split": ["train"] * 6, "keep": [True, False, True, True, True, True], "image": images,
    }  # fmt: skip
    return Manifest(Path("squares.parquet"), pa.table(columns), fingerprint="0")


def test_images_of_an_identity(manifest: Manifest) -> None:
    sheet = identity_sheet(manifest, "a", 2)
    assert sheet.title == "a: the first 2 of 3 images"
    assert [cell.captions for cell in sheet.rows[0].cells] == [("0", "train"), ("1", "train, not kept")]
    with pytest.raises(InputError, match="called 'd'"):
        identity_sheet(manifest, "d", 2)


def test_a_subspace_begins_with_the_nearest_to_its_centroid(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "subspaces.parquet"
    rows = {"identity_id": [0, 1, 2], "subspace_id": [1, 0, 1], "similarity": [0.5, 0.9, 0.75]}
    pq.write_table(pa.table(rows, schema=SUBSPACES.columns), path)
    seen = manifest.identities_in(["train"])
    sheet = subspace_sheet(manifest, path, 1, 5, seen)
    assert [(cell.row, cell.captions) for cell in sheet.rows[0].cells] == [
        (4, ("c", "0.750")),
        (0, ("a", "0.500")),
    ]
    with pytest.raises(InputError, match=r"subspaces 0 to 1; --subspace 2"):
        subspace_sheet(manifest, path, 2, 5, seen)


def test_identities_are_shown_by_the_images_that_are_seen(manifest: Manifest, tmp_path: Path) -> None:
    """Not by one that is not kept, of another split, unreadable or cleaned out; by any where there is no other."""
    seen = manifest.identities_in(["train"], np.array([0, 3, 5]))  # of a the last, of b none, of c the first
    path = tmp_path / "subspaces.parquet"
    rows = {"identity_id": [0, 1, 2], "subspace_id": [0, 0, 0], "similarity": [0.9, 0.8, 0.7]}
    pq.write_table(pa.table(rows, schema=SUBSPACES.columns), path)
    assert subspace_sheet(manifest, path, 0, 5, seen).images == [2, 3, 4]
    rows = {
        "identity_id_a": [0], "identity_a": ["a"], "images_a": [1], "identity_id_b": [2],
        "identity_b": ["c"], "images_b": [1], "similarity": [0.8], "expected": [0.7],
    }  # fmt: skip
    pq.write_table(pa.table(rows, schema=DUPLICATES.columns), path)
    (row,) = pairs_sheet(manifest, path, 5, seen).rows
    assert [(cell.row, cell.captions) for cell in row.cells if cell.row is not None] == [
        (2, ("a", "1 image")),
        (4, ("c", "1 image")),
    ]
    rows = {
        "reason": ["duplicate"], "score": [0.9], "identity_id": [0], "identity": ["a"], "image_id": [None],
        "other_identity_id": [2], "other_identity": ["c"], "other_image_id": [None],
    }  # fmt: skip
    pq.write_table(pa.table(rows, schema=SUSPECTS.columns), path)
    assert suspects_sheet(manifest, path, 5, seen).images == [2, 4]


def test_pairs_stand_in_two_columns_each_the_others_nearest(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "duplicates.parquet"
    rows = {
        "identity_id_a": [0, 0], "identity_a": ["a", "a"], "images_a": [3, 3], "identity_id_b": [1, 2],
        "identity_b": ["b", "c"], "images_b": [1, 2], "similarity": [0.8, 0.9], "expected": [0.7, 0.7],
    }  # fmt: skip
    pq.write_table(pa.table(rows, schema=DUPLICATES.columns), path)
    seen = manifest.identities_in(["train"])
    sheet = pairs_sheet(manifest, path, 5, seen)  # a is the nearest of b, but c is the nearest of a
    (row,) = sheet.rows
    assert [cell.row for cell in row.cells] == [0, 2, None, None, 4, 5, None]
    assert row.cells[0].captions == ("a", "2 images")
    assert row.label == ("cosine 0.900", "of halves 0.700")
    other = Manifest(Path("m"), manifest.table.slice(0, 3), fingerprint="0")
    with pytest.raises(InputError, match="another manifest"):
        pairs_sheet(other, path, 1, other.identities_in(["train"]))


def test_a_batch_has_its_groups_apart(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    part = tmp_path / "plan" / "part-00000.parquet"
    rows = {
        "step": [0, 1], "subspace_id": [3, -1], "identity_ids": [[0, 1, 2], [2, 1, 0]],
        "image_ids": [[0, 2, 3, 3, 4, 5], [5, 4, 3, 3, 2, 0]],
    }  # fmt: skip
    pq.write_table(pa.table(rows, schema=PLAN.columns), part)
    settings = PlanConfig(P=3, K=2, strategy="custom", group_size=2, random_fraction=0.34)
    sheet = batch_sheet(StageFolder(tmp_path, 0), [part], 0, 9, manifest, settings)
    assert [row.apart for row in sheet.rows] == ["group 1 of 1: 2 look-alikes", None, "1 from all identities"]
    assert [[cell.row for cell in row.cells] for row in sheet.rows] == [[0, 2], [3, 3], [4, 5]]
    assert [row.label[0] for row in sheet.rows] == ["a", "b", "c"]
    assert (
        "from all identities" in batch_sheet(StageFolder(tmp_path, 0), [part], 1, 9, manifest, settings).title
    )
    with pytest.raises(InputError, match=r"has 2 batches, 0 to 1; --batch 2"):
        batch_sheet(StageFolder(tmp_path, 0), [part], 2, 9, manifest, settings)


def test_what_can_be_read_of_an_unreadable_image_is_shown(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "quarantine.parquet"
    rows = {"image_id": [5], "identity": ["c"], "uri": [None], "reason": ["cut short"]}
    pq.write_table(pa.table(rows, schema=QUARANTINE.columns), path)
    sheet = quarantine_sheet(manifest, path, 9)
    assert sheet.lenient
    assert sheet.rows[0].cells[0].captions == ("c", "inline", "cut short")
    store = ImageStore(manifest)
    part = readable_part(store, 5, 64)
    assert part is not None
    whole = np.random.default_rng(5).integers(0, 255, (32, 32, 3), np.uint8)
    assert np.array_equal(np.asarray(part)[:10], whole[:10])
    assert max(readable_part(store, 5, 16).size) == 16  # pyright: ignore[reportOptionalMemberAccess]
    pq.write_table(pa.table(rows, schema=QUARANTINE.columns).slice(0, 0), path)
    with pytest.raises(InputError, match="nothing to draw"):
        quarantine_sheet(manifest, path, 9)

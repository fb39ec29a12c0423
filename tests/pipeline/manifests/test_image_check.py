"""`subspace inspect MANIFEST --check` finds the images that cannot be decoded, counts them by reason, and lists them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from PIL import Image

from subspace.mining.errors import InputError
from subspace.mining.parquet_tables import read_parquet, write_parquet
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline.manifests.image_check import check_images
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions


def picture(value: int) -> bytes:
    noise = np.random.default_rng(value).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(data := io.BytesIO(), "PNG")
    return data.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A manifest of 20 images, of which 2 are cut short, 3 no images, 1 gone."""
    for number in range(20):
        data = picture(number)
        data = {3: data[:1_000], 4: data[:1_000], 7: b"text 7", 8: b"text 8", 9: b"text 9"}.get(number, data)
        path = tmp_path / "photos" / f"p{number % 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    ingest_images(tmp_path / "photos", tmp_path / "m.parquet", IngestOptions())
    (tmp_path / "photos" / "p1" / "5.png").unlink()
    return tmp_path / "m.parquet"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_bad_image_is_found_with_its_reason(photos: Path, tmp_path: Path, num_workers: int) -> None:
    out = tmp_path / "bad.parquet"
    checked = check_images(photos, num_workers=num_workers, out=out)
    assert (checked.images, checked.checked) == (20, 20)
    found = read_parquet(out, QUARANTINE).to_pylist()
    assert {int(Path(row["uri"]).stem) for row in found} == {3, 4, 5, 7, 8, 9}
    assert all(Path(row["uri"]).parent.name == row["identity"] for row in found)
    table = pq.read_table(photos)
    assert all(table["uri"][row["image_id"]].as_py() == row["uri"] for row in found)
    reasons = {reason: count for reason, count, _ in checked.reasons()}
    assert sorted(reasons.values()) == [1, 2, 3]
    assert reasons["not an image of a known format"] == 3
    assert reasons["No such file or directory"] == 1
    assert "6 of 20 images cannot be decoded" in checked.lines()[0]


def test_the_command_says_findings_and_fails_only_where_all_are_bad(photos: Path, tmp_path: Path) -> None:
    done = subspace("inspect", photos, "--check", "--num-workers", "0", "--out", tmp_path / "bad.parquet")
    assert done.returncode == 0, done.stderr
    assert "6 of 20 images cannot be decoded" in done.stdout
    assert f"listed in {tmp_path / 'bad.parquet'}" in done.stdout
    done = subspace("inspect", photos, "--check", "--sample", "5", "--num-workers", "0", "--json")
    facts = json.loads(done.stdout)
    assert (facts["images"], facts["checked"]) == (20, 5)
    assert facts["bad"] == sum(reason["images"] for reason in facts["reasons"])

    for image in (tmp_path / "photos").glob("*/*"):
        image.unlink()
    done = subspace("inspect", photos, "--check", "--num-workers", "0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "none of the 20 images can be decoded" in done.stderr
    for words in (
        ("inspect", photos, "--sample", "5"),
        ("inspect", tmp_path / "bad.parquet", "--check"),
        ("inspect", "s3://bucket/m.parquet"),
    ):
        done = subspace(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_good_images_are_no_finding(tmp_path: Path) -> None:
    table = pa.table({"label": ["a", "b"] * 4, "image": [picture(value) for value in range(8)]})
    pq.write_table(table, tmp_path / "list.parquet")
    made = ingest_images(tmp_path / "list.parquet", tmp_path / "m.parquet", IngestOptions(test_fraction=0))
    out = tmp_path / "bad.parquet"
    checked = check_images(made.out, out=out)
    assert checked.lines() == [f"{made.out}: all 8 images can be decoded"]
    assert not out.exists()
    write_parquet(out, QUARANTINE, QUARANTINE.columns.empty_table(), "of an earlier check")
    check_images(made.out, out=out)
    assert not out.exists(), "the findings of an earlier check are taken for those of this one"
    with pytest.raises(InputError, match="does not exist"):
        check_images(tmp_path / "nowhere.parquet")

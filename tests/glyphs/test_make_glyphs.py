"""The command on a folder of fonts: what a set holds, the same bytes again, and going on after a kill."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow.parquet as pq
import pytest
from folder_checksums import checksums
from PIL import Image

from subspace.mining.manifest import Manifest
from subspace.mining.schemas import MANIFEST
from subspace.train.data.images import ImageStore

from .conftest import RECIPE

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
NAMES = ("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "STIXGeneral.ttf")


def make_glyphs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE / "make_glyphs.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fonts/ and the set/ of them, made by two processes."""
    folder = tmp_path_factory.mktemp("glyphs")
    (folder / "fonts").mkdir()
    for name in NAMES:
        shutil.copy(FONTS / name, folder / "fonts")
    shutil.copy(FONTS / NAMES[0], folder / "fonts" / "the same again.ttf")
    done = make_glyphs("--fonts", folder / "fonts", "--out", folder / "set", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert "duplicate" not in done.stderr
    return folder


def test_the_manifest_is_one_of_ours_and_its_images_decode(built: Path) -> None:
    manifest = Manifest.open(built / "set" / "manifest.parquet")
    table = manifest.table
    assert MANIFEST.problem_with(table.schema) is None
    assert set(table["group"].to_pylist()) == {"DejaVu Serif", "STIXGeneral"}
    store = ImageStore(manifest)
    for image_id in range(0, len(manifest), 97):
        with Image.open(io.BytesIO(store.read(image_id))) as image:
            assert (image.format, image.size) == ("PNG", (32, 32))
            assert np.asarray(image).max() > 64
    names = table["identity"].to_pylist()
    assert names == sorted(names)
    assert {"U+0041", "U+03B1"} <= set(names)


def test_a_font_that_is_there_twice_adds_no_image(built: Path) -> None:
    with open(built / "set" / "faces.csv", newline="") as file:
        faces = {row["file"]: row for row in csv.DictReader(file)}
    assert int(faces["DejaVuSerif.ttf"]["images"]) > 2_000
    assert faces["the same again.ttf"]["images"] == "0"
    assert faces["the same again.ttf"]["sha256"] == faces["DejaVuSerif.ttf"]["sha256"]


def test_an_identity_has_its_distinct_pictures_and_no_near_repeat(built: Path) -> None:
    manifest = Manifest.open(built / "set" / "manifest.parquet")
    store = ImageStore(manifest)
    images = manifest.identities_in(("train", "pretrain", "val", "test"))
    assert images.count.max() == 3
    for i in np.flatnonzero(images.count > 1)[::50]:
        rows = images.image_id[images.offset[i] : images.offset[i + 1]]
        pixels = np.stack(
            [np.asarray(Image.open(io.BytesIO(store.read(int(row)))), float).ravel() for row in rows]
        )
        pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
        assert ((pixels @ pixels.T)[np.triu_indices(len(rows), 1)] < 0.98).all()


def test_image_faces_and_duplicates_point_at_the_manifest(built: Path) -> None:
    table = pq.read_table(built / "set" / "manifest.parquet")
    faces = list(csv.DictReader((built / "set" / "faces.csv").open(newline="")))
    drawn_by = pq.read_table(built / "set" / "image_faces.parquet")["face"].to_pylist()
    assert [faces[face]["family"] for face in drawn_by] == table["group"].to_pylist()
    number = dict(zip(table["identity"].to_pylist(), table["identity_id"].to_pylist(), strict=True))
    duplicates = pq.read_table(built / "set" / "duplicates.parquet").to_pylist()
    assert ("U+002D", "U+2010") in {(row["identity_a"], row["identity_b"]) for row in duplicates}  # hyphens
    for row in duplicates:
        assert number[row["identity_a"]] == row["identity_id_a"]
        assert number[row["identity_b"]] == row["identity_id_b"]
        assert row["faces"] >= 2


def test_rebuilding_gives_the_same_bytes_with_another_number_of_processes(
    built: Path, tmp_path: Path
) -> None:
    done = make_glyphs("--fonts", built / "fonts", "--out", tmp_path / "set", "--processes", "1", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checksums(tmp_path / "set") == checksums(built / "set")


def test_a_build_goes_on_with_what_is_there_and_ends_alike(built: Path, tmp_path: Path) -> None:
    whole = checksums(built / "set")
    shutil.copytree(built / "set", tmp_path / "set")
    shutil.copytree(built / "drawn", tmp_path / "drawn")
    shards = sorted(tmp_path.glob("set/shards-*/*.pngs"))
    shards[0].with_suffix(".npy").unlink()  # as if killed between the two files of a shard
    shards[-1].with_suffix(".npy").unlink()
    shards[-1].rename(shards[-1].with_name(f".{shards[-1].name}.1.tmp"))
    (tmp_path / "set" / "manifest.parquet").unlink()
    shutil.rmtree(next((tmp_path / "drawn").iterdir()))
    old = tmp_path / "set" / "shards-of-other-fonts"
    old.mkdir()
    kept = shards[1].stat().st_mtime_ns
    done = make_glyphs("--fonts", built / "fonts", "--out", tmp_path / "set", "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert checksums(tmp_path / "set") == whole
    assert shards[1].stat().st_mtime_ns == kept
    assert not old.exists()


def test_a_folder_without_fonts_is_one_line(tmp_path: Path) -> None:
    done = make_glyphs("--fonts", tmp_path, "--out", tmp_path / "set")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} holds no .ttf")
    assert done.stderr.count("\n") == 1


def test_fonts_that_draw_nothing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.ttf").touch()
    done = make_glyphs("--fonts", tmp_path, "--out", tmp_path / "set", "--processes", "1")
    assert done.returncode == 2
    assert "empty.ttf" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "set").exists()

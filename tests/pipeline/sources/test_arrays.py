"""Arrays of images become PNG inside the manifest, pixel for pixel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_pictures import folder_sums, ingested, pictures, pixel_sums
from PIL import Image

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest


def arrays(kind: str = "RGB") -> tuple[np.ndarray, np.ndarray]:
    made = pictures(kind="PNG")
    images = np.stack([np.asarray(Image.open(io.BytesIO(one.data)).convert(kind)) for one in made])
    return images, np.array([one.label for one in made])


def test_npy_decodes_as_the_folder_does(tmp_path: Path) -> None:
    images, labels = arrays()
    np.save(tmp_path / "set.npy", images)
    np.save(tmp_path / "set_labels.npy", labels.astype(np.float32))
    summary = ingested(tmp_path / "set.npy", tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(pictures(kind="PNG"), tmp_path)
    assert summary.reading == "identity: set_labels.npy; image: set.npy as PNG; split: none; group: none"
    assert Manifest.open(tmp_path / "m.parquet").table["uri"][0].as_py() == "set.npy[0]"
    (tmp_path / "set_labels.npy").rename(tmp_path / "y.npy")
    with pytest.raises(InputError, match=r"set_labels.npy does not exist; name the file with --labels"):
        ingested(tmp_path / "set.npy", tmp_path / "m.parquet")
    named = ingested(tmp_path / "set.npy", tmp_path / "m.parquet", labels=tmp_path / "y.npy")
    assert named.fingerprint == summary.fingerprint


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "targets")])
def test_npz_decodes_as_the_folder_does(tmp_path: Path, save: Any, names: tuple[str, str]) -> None:
    images, labels = arrays()
    save(tmp_path / "set.npz", **dict(zip(names, (images, labels.reshape(-1, 1)), strict=True)))
    ingested(tmp_path / "set.npz", tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(pictures(kind="PNG"), tmp_path)


@pytest.mark.parametrize("shape", ["NHW", "NHW1"])
def test_grey_arrays(tmp_path: Path, shape: str) -> None:
    images, labels = arrays("L")
    np.savez(tmp_path / "set.npz", images=images if shape == "NHW" else images[..., None], labels=labels)
    ingested(tmp_path / "set.npz", tmp_path / "m.parquet")
    expected = [(str(label), 3 * int(image.sum())) for label, image in zip(labels, images, strict=True)]
    assert pixel_sums(tmp_path / "m.parquet") == sorted(expected)


@pytest.mark.parametrize("pattern", ["{}_{}", "{1}_{0}"])
def test_splits_by_the_names_of_arrays(tmp_path: Path, pattern: str) -> None:
    images, labels = arrays()
    held = {pattern.format(split, what): part[labels % 2 == odd] for odd, split in enumerate(["train", "val"])
            for what, part in (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(tmp_path / "set.npz", **held)
    summary = ingested(tmp_path / "set.npz", tmp_path / "m.parquet")
    assert [(count.split, count.images) for count in summary.splits] == [("train", 4), ("val", 4)]
    assert "split: train; group: none | " in summary.reading


def test_junk_of_arrays_is_left_out_and_said(tmp_path: Path) -> None:
    images, labels = arrays()
    np.savez(tmp_path / "set.npz", images=images, labels=np.where(labels == 0, -1, labels))
    summary = ingested(tmp_path / "set.npz", tmp_path / "m.parquet")
    assert (summary.images, summary.identities) == (6, 3)
    assert any(note.startswith("2 images of nobody left out") for note in summary.notes)


IMAGES = np.zeros((4, 3, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("held", "complaint"),
    [
        ({"images": IMAGES}, "name the images and labels with --image-key and --label-key"),
        ({"a": IMAGES, "b": np.arange(4)}, "has arrays a, b: name the images"),
        ({"images": IMAGES, "x": IMAGES, "labels": np.arange(4)}, "has arrays images, x, labels: name"),
        ({"images": IMAGES.astype(np.float32), "labels": np.arange(4)}, "images is float32[4, 3, 3, 3]"),
        ({"images": IMAGES[..., :2], "labels": np.arange(4)}, "images is uint8[4, 3, 3, 2]"),
        ({"images": IMAGES[:, :0], "labels": np.arange(4)}, "images without a pixel"),
        ({"images": IMAGES, "labels": np.arange(3)}, "labels [3] are not one for each of 4 images"),
        ({"images": IMAGES, "labels": np.eye(4)}, "labels [4, 4] are not one for each"),
        ({"images": IMAGES, "labels": np.arange(4) / 2}, "no whole numbers, such as 0.5"),
        ({"images": IMAGES, "labels": np.array([b"a", b"\xff", b"c", b"d"])}, "a label is not UTF-8"),
        ({"images": IMAGES, "labels": np.array(list("abcd"), object)}, "Python objects"),
        ({"images": IMAGES, "labels": np.arange(4) * 1j}, "labels are complex128"),
    ],
)  # fmt: skip
def test_bad_arrays_are_one_line(tmp_path: Path, held: dict[str, np.ndarray], complaint: str) -> None:
    np.savez(tmp_path / "set.npz", **held)
    with pytest.raises(InputError) as caught:
        ingested(tmp_path / "set.npz", tmp_path / "m.parquet")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_cut_arrays_are_one_line(tmp_path: Path, suffix: str) -> None:
    images, labels = arrays()
    source = tmp_path / f"set.{suffix}"
    np.save(tmp_path / "set_labels.npy", labels)
    if suffix == "npy":
        np.save(source, images)
    else:
        np.savez_compressed(source, images=images, labels=labels)
    whole = source.read_bytes()
    cuts = [*range(0, min(len(whole), 200), 7), len(whole) // 2, len(whole) - 1]
    for cut in cuts:
        source.write_bytes(whole[:cut])
        with pytest.raises(InputError) as caught:
            ingested(source, tmp_path / "m.parquet")
        assert "\n" not in str(caught.value)
    damaged = bytearray(whole)
    damaged[len(whole) // 3 : len(whole) // 3 + 40] = bytes(40)
    source.write_bytes(damaged)
    if suffix == "npz":
        with pytest.raises(InputError, match="cannot read"):
            ingested(source, tmp_path / "m.parquet")


def test_labels_of_text(tmp_path: Path) -> None:
    images, _ = arrays()
    for labels in (
        np.array(["é", "b"] * 4),
        np.array(["é".encode(), b"b"] * 4),
        np.arange(8, dtype=">i2") % 2,
    ):
        np.savez(tmp_path / "set.npz", images=images, labels=labels)
        ingested(tmp_path / "set.npz", tmp_path / "m.parquet")
        found = set(Manifest.open(tmp_path / "m.parquet").table["identity"].to_pylist())
        assert found in ({"é", "b"}, {"0", "1"})


def test_further_arrays_are_said(tmp_path: Path) -> None:
    images, labels = arrays()
    np.savez(tmp_path / "set.npz", images=images, labels=labels, camera=labels)
    assert ingested(tmp_path / "set.npz", tmp_path / "m.parquet").reading.endswith("; not used: camera")

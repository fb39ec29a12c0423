"""The same image twice: taken once in an identity, and never a proof that a network knows somebody.

Covers pipeline/rows/image_digests.py as well.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import read_parquet
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline.rows.ingest_summary import IngestSummary
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions
from subspace.train import ImageStore


def ingest(source: Path, **options: object) -> tuple[IngestSummary, list[dict[str, object]], list[tuple[str, str, str]]]:  # fmt: skip
    """The summary, the rows, and what was listed: identity, file, reason."""
    out = source.with_name("m.parquet")
    summary = ingest_images(source, out, IngestOptions(**{"test_fraction": 0.0, **options}))  # pyright: ignore[reportArgumentType]
    listed = (
        read_parquet(quarantine_path(out), QUARANTINE).to_pylist() if quarantine_path(out).exists() else []
    )
    return (
        summary,
        Manifest.open(out).table.to_pylist(),
        [(row["identity"], Path(row["uri"]).name, row["reason"]) for row in listed],
    )


def made(folder: Path, **files: str) -> Path:
    """Files by name, `__` a slash, with their content."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return folder


def test_an_image_is_taken_once_of_its_identity(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", ann__1="same", ann__2="same", ann__3="else", bob__1="four")
    summary, rows, listed = ingest(folder)
    assert [(row["identity"], Path(str(row["uri"])).name) for row in rows] == [("ann", "1.jpg"), ("ann", "3.jpg"), ("bob", "1.jpg")]  # fmt: skip
    assert (summary.repeats, summary.quarantined, summary.images) == (1, 0, 3)
    assert listed == [("ann", "2.jpg", f"same image as {folder}/ann/1.jpg of its identity, which is taken")]
    assert any(note.startswith("1 images left out: each is the same as another of its identity, listed in") for note in summary.notes)  # fmt: skip
    assert ingest(folder, check_repeats="identity")[0].repeats == 1
    assert ingest(folder, check_repeats="none")[0].images == 4


LONG = "x" * 5_000
"""Longer than what is compared first."""


def test_an_image_of_two_identities_is_no_test_image(tmp_path: Path) -> None:
    folder = made(
        tmp_path / "set", train__ann__1="same", train__ann__2="1234", train__cid__1=f"a{LONG}", train__cid__2="same", test__bob__1="same",
        test__bob__2="more", test__dan__1=f"b{LONG}",
    )  # fmt: skip
    summary, rows, listed = ingest(folder)
    assert [(row["identity"], row["keep"]) for row in rows] == [
        ("ann", True), ("ann", True), ("bob", False), ("bob", True), ("cid", True), ("cid", True), ("dan", True),
    ]  # fmt: skip
    assert (summary.shared_held_out, summary.shared_training) == (1, 2)
    assert [one[:2] for one in listed] == [("ann", "1.jpg"), ("bob", "1.jpg"), ("cid", "2.jpg")]
    assert listed[1][2] == f"same image as {folder}/train/ann/1.jpg of identity ann"
    assert any("1 held-out images are another identity's too" in note for note in summary.notes)
    assert ingest(folder, check_repeats="identity")[0].shared_held_out == 0


def test_an_image_of_two_identities_makes_no_pair(tmp_path: Path) -> None:
    names = {f"id{one}__{image}": f"{one} {image}" for one in range(6) for image in "ab"}
    names |= {f"id{one}__b": "one" for one in range(4)}  # four of six have one image of their own
    summary, rows, _ = ingest(made(tmp_path / "set", **names), test_fraction=0.5)
    assert {row["identity"] for row in rows if row["split"] == "test"} == {"id4", "id5"}
    assert any("test has 2 of 3 identities" in note for note in summary.notes)
    assert (summary.images, summary.shared_held_out, summary.shared_training) == (12, 0, 4)


def test_a_held_out_identity_without_a_pair_is_said(tmp_path: Path) -> None:
    folder = made(
        tmp_path / "set", train__ann__1="one", train__bob__1="two", test__cid__1="one", test__cid__2="ten"
    )
    summary, rows, _ = ingest(folder)
    assert len(rows) == 4
    assert (summary.images, summary.singletons) == (3, 3)
    assert {count.split: count.images for count in summary.splits} == {"train": 2, "test": 1}
    assert any("1 held-out identities lose their last pair by that, such as cid" in note for note in summary.notes)  # fmt: skip


def test_one_image_as_query_and_as_gallery_stays_both(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / f"{name}.jpg").write_text(name)
    flags = {"is_query": [True, False, None], "is_gallery": [False, True, None]}
    table = {"path": ["1.jpg", "1.jpg", "2.jpg"], "label": ["ann", "ann", "bob"]}
    table |= {"split": ["test", "test", "train"], **flags}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    _, rows, _ = ingest(tmp_path / "list.parquet")
    assert [(row["is_query"], row["is_gallery"]) for row in rows] == [(True, True), (None, None)]


def test_two_boxes_of_one_photograph_are_two_images(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(b"photo")
    boxes = [(0, 0, 2, 2), (1, 1, 3, 3), (0, 0, 2, 2)]
    table = {"path": ["p.jpg"] * 3, "label": ["ann", "bob", "cid"]}
    table |= {name: [box[at] for box in boxes] for at, name in enumerate(("x_1", "y_1", "x_2", "y_2"))}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    summary, rows, listed = ingest(tmp_path / "list.parquet", test_fraction=0)
    assert (len(rows), summary.repeats, summary.shared_training) == (3, 0, 2)
    assert {one[0] for one in listed} == {"ann", "cid"}


@pytest.mark.parametrize("check", ["all", "none"])
def test_one_place_with_two_groups_is_one_image(tmp_path: Path, check: str) -> None:
    for name in ("1", "2"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    table = {"path": ["1.jpg", "1.jpg", "2.jpg"], "label": ["ann", "ann", "bob"], "camera": ["a", "b", "a"]}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    summary, rows, _ = ingest(tmp_path / "list.parquet", check_repeats=check)
    assert (len(rows), summary.repeats) == (2, 1)


def test_images_inside_files_are_compared(tmp_path: Path) -> None:
    images, labels = ["same", "same", "self", "self"], ["ann", "ann", "ann", "bob"]
    pq.write_table(
        pa.table({"image": [one.encode() for one in images], "label": labels}), tmp_path / "a.parquet"
    )
    summary, rows, _ = ingest(tmp_path / "a.parquet")
    assert (len(rows), summary.repeats, summary.shared_training) == (
        3,
        0,
        2,
    )  # equal rows are taken once before
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / f"{number}.jpg").write_text(image)
        (tmp_path / f"{number}.cls").write_text(label)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(4):
            tar.add(tmp_path / f"{number}.jpg", f"{number}.jpg")
            tar.add(tmp_path / f"{number}.cls", f"{number}.cls")
    summary, rows, listed = ingest(tmp_path / "a.tar")
    assert (len(rows), summary.repeats, summary.shared_training) == (3, 1, 2)
    assert "at byte" in listed[0][1] or "at byte" in listed[0][2]


def test_without_repeats_nothing_changes(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", ann__1="one", ann__2="two", bob__1="six", bob__2="ten")
    found = {ingest(folder, check_repeats=check, test_fraction=0.5)[0].fingerprint for check in ("all", "identity", "none")}  # fmt: skip
    assert len(found) == 1
    assert all(row["keep"] for row in ingest(folder)[1])


def test_rank_1_on_noise_does_not_rise_by_repeats(tmp_path: Path) -> None:
    """30 identities of two noise images each; every other one has one of them twice, and every fifth shares one."""
    rng = np.random.default_rng(0)
    for identity in range(30):
        folder = tmp_path / "set" / f"{identity:02}"
        folder.mkdir(parents=True)
        for image in range(2):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{image}.png")
        if identity % 2:
            (folder / "9.png").write_bytes((folder / "0.png").read_bytes())
        if identity % 5 == 4:
            (folder / "8.png").write_bytes((tmp_path / "set" / f"{identity - 1:02}" / "0.png").read_bytes())
    ingest(tmp_path / "set", test_fraction=0.6)
    manifest = Manifest.open(tmp_path / "m.parquet")
    tested = np.flatnonzero(
        np.array([row["split"] == "test" and row["keep"] for row in manifest.table.to_pylist()])
    )
    store = ImageStore(manifest)
    pixels = np.stack([np.asarray(store.decode(one, 8), float).ravel() - 127 for one in tested.tolist()])
    similarity = pixels @ pixels.T
    np.fill_diagonal(similarity, -np.inf)
    identity = np.array(manifest.table["identity_id"])[tested]
    assert np.mean(identity[similarity.argmax(1)] == identity) < 0.15

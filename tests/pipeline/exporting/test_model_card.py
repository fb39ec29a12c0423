"""The card tells what the files of the run tell, and its code runs. Covers pipeline/exporting/figures.py, too."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from changed_manifests import with_changed_manifest
from conftest import subspace
from exported_networks import linear_network, saved
from PIL import Image

from subspace.mining.cleaning.keep_table import table_to_keep
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import BOX, KEEP
from subspace.pipeline.configuration.config import DataConfig, RunConfig
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.console import Console
from subspace.pipeline.exporting.chosen_checkpoint import choose_checkpoint
from subspace.pipeline.exporting.figures import (
    evaluation_of,
    manifest_of,
    origin_of,
    roles_in,
    settings_of,
    split_rows,
    training_rows,
)
from subspace.pipeline.exporting.model_card import describe_model
from subspace.pipeline.exporting.request import ExportRequest
from subspace.pipeline.exporting.write_export import export_checkpoint
from subspace.train import Backbone, ImageInput, build_backbone
from subspace.train.data.images import ImageStore, decode_pixels
from subspace.train.data.preprocess_config import PreprocessConfig

CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
INPUTS = {
    "stretch": PreprocessConfig(size=(32, 48), interpolation="bicubic"),
    "crop": PreprocessConfig(size=48, resize="crop", crop=0.875, mean=(0.4, 0.5, 0.6), std=0.25),
    "letterbox": PreprocessConfig(size=(48, 32), resize="letterbox", channels="BGR", interpolation="lanczos"),
}


def photos(folder: Path) -> None:
    """a.jpg, wide, and b.jpg, large and on its side; random pixels enlarged, so that they have shapes in them."""
    for name, size, seed, turn in (("a", (97, 61), 0, 1), ("b", (431, 283), 1, 6)):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = turn
        enlarged = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        enlarged.save(folder / f"{name}.jpg", quality=95, exif=exif)


def expected(network: Backbone, folder: Path) -> np.ndarray:
    """As the package itself decodes and embeds."""
    pixels = [decode_pixels((folder / name).read_bytes(), network.input) for name in ("a.jpg", "b.jpg")]
    images = np.stack([np.asarray(image).transpose(2, 0, 1) for image in pixels])
    return network.eval()(torch.from_numpy(np.ascontiguousarray(images))).detach().numpy()


@pytest.mark.parametrize("preprocessing", ["inside", pytest.param("outside", marks=pytest.mark.slow)])
@pytest.mark.parametrize("rule", INPUTS)
def test_the_code_of_the_card_gives_the_network_s_embeddings(
    rule: str, preprocessing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_backbone("small", embedding_size=8, seed=1, preprocess=INPUTS[rule])
    request = ExportRequest(("onnx", "torch", "safetensors"), preprocessing)  # pyright: ignore[reportArgumentType]
    export_checkpoint(
        choose_checkpoint(saved(tmp_path, network)), request, tmp_path / "out", Console(quiet=True)
    )
    photos(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    preparation, *uses = CODE.findall(Path("model.md").read_text())
    assert len(uses) == 3
    for code in uses:
        names: dict[str, np.ndarray] = {}
        exec(preparation + code, names)  # noqa: S102  # as a reader of the card does
        np.testing.assert_allclose(names["embeddings"], expected(network, Path()), rtol=0, atol=1e-4)


def test_the_card_has_the_figures_data_and_training_of_its_round(exported: Path, finished_run: Path) -> None:
    card = (exported / "model.md").read_text()
    best = json.loads((finished_run / "best.json").read_text())
    folder = finished_run / best["network"]
    for name, metric in json.loads((folder / "evaluation.json").read_text())["metrics"].items():
        value, low, high = (f"{100 * metric[key]:.1f}" for key in ("value", "low", "high"))
        assert f"| {name} | {value} [{low}, {high}] |" in card
    assert "(16 identities, 63 probes, 16 gallery images, 6 distractors)" in card
    assert "| train | 192 | 32 | mined and trained on |" in card
    assert "| test | 96 | 16 | tested on |" in card
    assert f"it validates best: Rank-1 {best['value']:.4f}" in card
    assert "stretched to 32 × 32 px, bilinear; RGB, (x / 255 - 0.5) / 0.5" in card
    assert "cosine to the float embeddings" in card


def test_the_plan_of_a_round_and_of_the_start_are_told(finished_run: Path) -> None:
    config = load_config(finished_run / "subspace.yaml")
    start, second = (
        dict(training_rows(choose_checkpoint(finished_run / name / "checkpoint"), config))
        for name in ("start", "round-001")
    )
    assert start["trained as"] == "the starting network"
    assert start["loss"] == "softmax"
    assert second["rounds"] == "2 rounds of 8 steps (round 1, counted from 0)"
    assert second["batches"] == "8 identities × 2 images, 8 steps in the last round"
    assert second["loss"] == "batch_ohnm"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "palette"])
def test_the_code_of_the_card_takes_other_images_as_training_does(mode: str, tmp_path: Path) -> None:
    network = build_backbone("small", embedding_size=8, seed=1)
    export_checkpoint(
        choose_checkpoint(saved(tmp_path, network)),
        ExportRequest(("torch",)),
        tmp_path / "out",
        Console(quiet=True),
    )
    random = np.random.default_rng(0)
    channels = {"RGBA": 4, "LA": 2}.get(mode)
    path = tmp_path / "a.png"
    if channels:
        Image.fromarray(random.integers(0, 256, (40, 50, channels), dtype=np.uint8)).save(path)
    elif mode == "I;16":
        Image.fromarray(random.integers(0, 65536, (40, 50), dtype=np.uint16)).save(path)
    else:
        Image.fromarray(random.integers(0, 256, (40, 50), dtype=np.uint8)).convert("P").save(
            path, transparency=7
        )
    names: dict[str, Any] = {}
    code = CODE.findall((tmp_path / "out" / "model.md").read_text())[0]
    exec(code[: code.index("images = np.stack")], names)  # noqa: S102  # as a reader of the card does
    expected = decode_pixels(path.read_bytes(), network.input).transpose(2, 0, 1)
    np.testing.assert_array_equal(names["pixels"](path), expected)


def test_the_flip_test_is_told(exported: Path, finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    for words in (
        ("eval", run, "eval.flip=true", "--force"),
        ("export", run / "round-000" / "checkpoint", "--to", "safetensors"),
    ):
        done = subspace(*words)
        assert done.returncode == 0, done.stderr
    line = "its mirror image together (`eval.flip`)"
    assert line in (run / "round-000" / "export" / "model.md").read_text()
    assert line not in (exported / "model.md").read_text()


def test_figures_of_another_network_are_not_told(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    chosen = choose_checkpoint(run / "round-000" / "checkpoint")
    assert isinstance(evaluation_of(chosen), dict)
    shutil.copy(run / "round-001" / "checkpoint" / "meta.json", chosen.folder / "meta.json")
    assert "is of an earlier network" in str(evaluation_of(choose_checkpoint(chosen.folder)))
    (run / "round-000" / "done" / "eval.json").unlink()
    assert evaluation_of(chosen) == "`subspace eval` has not been run on round-000"


def test_a_round_without_an_evaluation_is_exported(finished_run: Path, tmp_path: Path) -> None:
    """It was refused, for the marker of an evaluation, when all files but the card were made."""
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (run / "round-000" / "done" / "eval.json").unlink()
    chosen = choose_checkpoint(run / "round-000" / "checkpoint")
    export_checkpoint(chosen, ExportRequest(("safetensors",)), tmp_path / "out", Console(quiet=True))
    card = (tmp_path / "out" / "model.md").read_text()
    assert "None: `subspace eval` has not been run on round-000." in card


def test_a_start_that_was_copied_out_of_its_run_is_told_as_one(finished_run: Path, tmp_path: Path) -> None:
    """It was described by the rounds of its run."""
    config = load_config(finished_run / "subspace.yaml")
    for name, is_start in (("start", True), ("round-000", False)):
        away = shutil.copytree(finished_run / name / "checkpoint", tmp_path / name)
        told = dict(training_rows(choose_checkpoint(away), config))
        assert (told.get("trained as") == "the starting network") is is_start
        assert told["loss"] == ("softmax" if is_start else "batch_ohnm")


def test_images_that_cleaning_left_out_are_not_counted(small_manifest: Path, tmp_path: Path) -> None:
    manifest, path = Manifest.open(small_manifest), tmp_path / "keep.parquet"
    before = {row[0]: row for row in split_rows(manifest, DataConfig())}
    gone = np.sort(
        np.concatenate(
            [np.flatnonzero(manifest.in_splits([split]))[:3] for split in ("train", "pretrain", "test")]
        )
    )
    reason = np.full(len(gone), "outlier")
    table = table_to_keep(gone, manifest.identity_id[gone], np.zeros(len(gone), bool), reason)
    write_parquet(path, KEEP, table, "keep")
    after = {row[0]: row for row in split_rows(manifest, DataConfig(cleaned=str(path)))}
    assert [before["train"][1], after["train"][1]] == ["192", "189"]
    assert after["train"][3] == "mined and trained on, 3 more left out by keep.parquet"
    assert after["pretrain"][1] == "93"
    assert after["pretrain"][3].endswith("left out by keep.parquet (the start is trained on these, too)")
    assert after["test"] == before["test"]  # evaluations take the manifest as it is
    without = {"train_splits": "mined and trained on"}  # of a run whose start was not trained
    rows = {row[0]: row for row in split_rows(manifest, DataConfig(cleaned=str(path)), without)}
    assert rows["pretrain"][3] == "mined and trained on, 3 more left out by keep.parquet"
    path.unlink()
    unknown = {row[0]: row for row in split_rows(manifest, DataConfig(cleaned=str(path)))}
    assert unknown["train"][1] == "192"
    assert unknown["train"][3].endswith(
        "what keep.parquet left out is counted, too: it is not there any more as it was"
    )


@pytest.mark.parametrize("rule", INPUTS)
def test_the_code_of_the_card_cuts_images_to_their_boxes(
    rule: str, tmp_path: Path, finished_run: Path
) -> None:
    photos(tmp_path)
    Image.open(tmp_path / "b.jpg").save(tmp_path / "c.tif", exif=Image.open(tmp_path / "b.jpg").getexif())
    boxes = [
        (3, 5, 61, 48),
        (-4, 2, 500, 33),
        (101, 77, 209, 390),
        (7, 0, 283, 431),
        None,
        (11, 40, 240, 300),
    ]
    names = ["a.jpg", "a.jpg", "b.jpg", "b.jpg", "b.jpg", "c.tif"]
    rows = {
        "uri": names,
        **dict.fromkeys(("offset", "length"), pa.array([None] * len(names), pa.int64())),
        **{name: pa.array([box and box[side] for box in boxes], pa.int32()) for side, name in enumerate(BOX)},
        "identity_id": pa.array(range(len(names)), pa.int32()),
        "split": ["train"] * len(names),
        "keep": [True] * len(names),
    }
    manifest = Manifest(tmp_path / "boxes.parquet", pa.table(rows), fingerprint="0")
    network = build_backbone("small", embedding_size=8, seed=1, preprocess=INPUTS[rule])
    chosen, config = choose_checkpoint(saved(tmp_path, network)), load_config(finished_run / "subspace.yaml")
    card = describe_model(chosen, network, ExportRequest(("onnx",)), [], config, manifest)
    assert "cut to its box where the manifest has one (x_1, y_1, x_2, y_2" in card
    code = CODE.findall(card)[0]
    found: dict[str, Any] = {}
    exec(code[: code.index("images = np.stack")], found)  # noqa: S102  # as a reader of the card does
    for number, (name, box) in enumerate(zip(names, boxes, strict=True)):
        expected = ImageStore(manifest).decode(number, network.input)
        np.testing.assert_array_equal(found["pixels"](tmp_path / name, box), expected)
    assert "box" not in describe_model(chosen, network, ExportRequest(("onnx",)), [], config, "gone")


def test_what_is_not_known_is_said(finished_run: Path, tmp_path: Path) -> None:
    away = shutil.copytree(finished_run / "round-000" / "checkpoint", tmp_path / "faces")
    meta = json.loads((away / "meta.json").read_text())
    meta["config"]["manifest"] = "/somewhere/else/faces.parquet"
    (away / "meta.json").write_text(json.dumps(meta))
    done = subspace("export", away, "--to", "safetensors")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "export" / "model.md").read_text()
    assert "Not known: faces.parquet is not there any more." in card
    assert "None: the checkpoint lies outside a run." in card
    assert "| loss | batch_ohnm |" in card
    assert "/somewhere" not in card


def test_a_manifest_that_has_changed_is_not_told_of(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    """The card had the images and identities of data that the network never saw."""
    run = with_changed_manifest(finished_run, small_manifest, tmp_path)
    chosen = choose_checkpoint(run / "round-000" / "checkpoint")
    export_checkpoint(chosen, ExportRequest(("safetensors",)), tmp_path / "out", Console(quiet=True))
    card = (tmp_path / "out" / "model.md").read_text()
    assert "Not known: faces.parquet has changed since this network was trained." in card
    assert "mined and trained on" not in card
    assert "f" * 32 not in card
    shutil.copy(small_manifest, tmp_path / "faces.parquet")
    assert isinstance(manifest_of(chosen, settings_of(chosen)), Manifest)
    marker = run / "round-000" / "done" / "eval.json"
    marker.write_text(marker.read_text().replace(Manifest.open(small_manifest).fingerprint, "f" * 32))
    assert "is on another manifest than that of its training" in str(evaluation_of(chosen))


def test_a_manifest_behind_a_url_is_not_said_to_be_gone(finished_run: Path) -> None:
    chosen = choose_checkpoint(finished_run / "round-000" / "checkpoint")
    said = manifest_of(chosen, RunConfig(manifest="https://example.org/glyphs.parquet"))
    assert said == "glyphs.parquet lies behind a URL, which is not read for it"


def test_what_the_network_began_with_is_told_and_no_pretraining_that_was_not(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    """The card said that the start was trained on a split when `pretrain.steps` was 0."""
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    for meta in run.glob("*/checkpoint/meta.json"):
        values = json.loads(meta.read_text())
        values["config"]["model"] = "checkpoint:/home/ann/runs/f18/round-003/checkpoint"
        values["config"]["pretrain"]["steps"] = 0
        meta.write_text(json.dumps(values))
    cards = {}
    for name in ("start", "round-000"):
        chosen = choose_checkpoint(run / name / "checkpoint")
        export_checkpoint(chosen, ExportRequest(("safetensors",)), tmp_path / name, Console(quiet=True))
        cards[name] = (tmp_path / name / "model.md").read_text()
        assert "the start is trained on" not in cards[name]
        assert "| began with | the checkpoint f18/round-003 |" in cards[name]
        assert "on identities that were not trained on in this run (16 identities" in cards[name]
        assert "/home/ann" not in cards[name]
    assert "| pretrain | 96 | 16 | mined and trained on |" in cards["round-000"]
    assert "| train | 192 | 32 | not used |" in cards["start"]


def test_the_use_of_splits_is_that_of_the_settings(finished_run: Path, exported: Path) -> None:
    card = (exported / "model.md").read_text()
    assert "| pretrain | 96 | 16 | the start is trained on it, mined and trained on |" in card
    assert "on identities that were not trained on (16 identities" in card
    assert "began with" not in card
    chosen, config = choose_checkpoint(finished_run / "start" / "checkpoint"), RunConfig(manifest="m")
    assert list(roles_in(chosen, config)) == ["pretrain_splits", "val_splits", "test_splits"]


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        ({}, None),
        ({"model": "checkpoint:/a/b/run/start/checkpoint"}, "the checkpoint run/start"),
        ({"model": "checkpoint:/a/b/faces"}, "the checkpoint faces"),
        ({"model": "checkpoint:/a/b/checkpoint"}, "the checkpoint checkpoint"),
        ({"model": "iresnet50", "weights": "/a/b/glint.pth"}, "published weights"),
        ({"model": "exported:/a/b/net.pt2"}, "published weights"),
    ],
)
def test_the_weights_that_a_run_began_with_are_told_without_paths(
    settings: dict[str, str], origin: str | None
) -> None:
    assert origin_of(RunConfig.model_validate({"manifest": "m", **settings})) == origin


def test_a_frozen_network_is_copied_and_its_card_has_no_code_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = linear_network(ImageInput(4), spec="onnx:faces.onnx")
    network.body.contents = b"a graph"  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(
        "subspace.pipeline.exporting.write_export.load_network", lambda spec, allow_code: network
    )
    chosen = choose_checkpoint(saved(tmp_path, network))
    export_checkpoint(chosen, ExportRequest(("onnx",)), tmp_path / "out", Console(quiet=True))
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"a graph"
    card = (tmp_path / "out" / "model.md").read_text()
    assert "a copy of the frozen network onnx:faces.onnx, byte for byte" in card
    assert not CODE.findall(card)

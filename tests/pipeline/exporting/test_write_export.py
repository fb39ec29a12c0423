"""Folders of exports: every file loads without this package, says what it is, and is there whole or not at all.

Covers pipeline/exporting/weights_file.py, pipeline/exporting/description.py and pipeline/exporting/request.py, too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import subspace
from exported_networks import random_images, saved
from safetensors import safe_open
from safetensors.torch import load_file

from subspace.mining import InputError
from subspace.pipeline.console import Console
from subspace.pipeline.exporting import request as request_module
from subspace.pipeline.exporting import write_export
from subspace.pipeline.exporting.chosen_checkpoint import choose_checkpoint
from subspace.pipeline.exporting.request import ExportRequest
from subspace.pipeline.exporting.write_export import export_checkpoint
from subspace.pipeline.inspection.folders import summarize_folder
from subspace.train import ImageInput, build_backbone, load_network
from subspace.train.data.images import BadImage

QUIET = Console(quiet=True)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return saved(tmp_path, build_backbone("small", embedding_size=16, seed=5))


def test_every_file_gives_the_embeddings_of_the_best_network(exported: Path, finished_run: Path) -> None:
    best = json.loads((finished_run / "best.json").read_text())["checkpoint"]
    network = load_network(f"checkpoint:{finished_run / best}").eval()
    images = random_images(9, network.input)
    expected = network(torch.from_numpy(images)).detach().numpy()

    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, rtol=0, atol=1e-5)
    again = build_backbone("small", seed=99).eval()
    again.body.load_state_dict(load_file(exported / "model.safetensors"), strict=True)
    np.testing.assert_array_equal(again(torch.from_numpy(images)).detach(), expected)
    np.testing.assert_allclose(_in_a_bare_torch(exported, images), expected, rtol=0, atol=1e-6)


def _in_a_bare_torch(folder: Path, images: np.ndarray) -> np.ndarray:
    """In a process that cannot import this package."""
    np.save(images_file := folder.parent / "images.npy", images)
    script = (
        "import sys; sys.modules['subspace'] = None\nimport numpy, torch\n"
        "network = torch.export.load(sys.argv[1]).module()\n"
        "numpy.save(sys.argv[3], network(torch.from_numpy(numpy.load(sys.argv[2]))).detach())"
    )
    out = folder.parent / "embeddings.npy"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, folder / "model.pt2", images_file, out], check=True
    )
    return np.load(out)


def test_every_file_says_what_it_is(exported: Path, finished_run: Path) -> None:
    best = json.loads((finished_run / "best.json").read_text())["checkpoint"]
    meta = json.loads((finished_run / best / "meta.json").read_text())
    properties = {entry.key: entry.value for entry in onnx.load(exported / "model.onnx").metadata_props}
    inside: dict[str, Any] = {"description.json": ""}
    torch.export.load(exported / "model.pt2", extra_files=inside)
    with safe_open(exported / "model.safetensors", "pt") as file:
        header = file.metadata()
    int8 = {entry.key: entry.value for entry in onnx.load(exported / "model.int8.onnx").metadata_props}

    assert properties["producer"].startswith("subspace-mining ")
    assert (properties["spec"], properties["embedding_size"]) == ("small", "128")
    assert properties["fingerprint"] == meta["fingerprint"]
    assert ImageInput.from_json(json.loads(properties["input"])) == ImageInput(32)
    assert json.loads(inside["description.json"]) == properties
    assert header == {**properties, "preprocessing": "none", "format": "pt"}
    assert int8 == {**properties, "quantization": "int8, dynamic"}


def test_equal_checkpoints_give_equal_bytes_without_paths_of_this_machine(
    exported: Path, finished_run: Path, tmp_path: Path
) -> None:
    formats = ("--to", "onnx", "--to", "safetensors", "--to", "torch", "--quantize", "int8")
    assert subspace("export", finished_run, *formats, "--out", tmp_path / "again").returncode == 0
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.onnx", "model.int8.onnx", "model.safetensors", "model.pt2", "model.md"}
    here = (str(Path(__file__).parents[3]), str(finished_run.parent), sys.prefix)
    for name in names:
        content = (exported / name).read_bytes()
        assert content == (tmp_path / "again" / name).read_bytes(), name
        assert not [path for path in here if path.encode() in content], name


def test_inspect_knows_an_export(exported: Path) -> None:
    what = {entry["name"]: entry["what"] for entry in summarize_folder(exported).facts["entries"]}
    assert what["model.onnx"] == what["model.int8.onnx"] == "network in ONNX"
    assert "not of a run" not in what.values()


def test_a_folder_is_not_written_over_unasked(checkpoint: Path, tmp_path: Path) -> None:
    chosen, out = choose_checkpoint(checkpoint), tmp_path / "out"
    export_checkpoint(chosen, ExportRequest(("safetensors", "torch")), out, QUIET)
    with pytest.raises(InputError, match=r"out is there already; write it anew with --force"):
        export_checkpoint(chosen, ExportRequest(("safetensors",)), out, QUIET)
    export_checkpoint(chosen, ExportRequest(("safetensors",)), out, QUIET, force=True)
    assert sorted(path.name for path in out.iterdir()) == ["model.md", "model.safetensors"]
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other files \(thesis\.tex\)"):
        export_checkpoint(chosen, ExportRequest(("safetensors",)), out, QUIET, force=True)
    assert (out / "thesis.tex").exists()


def test_weights_of_somebody_else_and_the_folder_one_stands_in_are_not_written_over(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "downloaded").mkdir()
    (tmp_path / "downloaded" / "model.safetensors").write_bytes(b"months of training")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for out, complaint in [
        (tmp_path / "downloaded", "holds files that are of no export"),
        (Path(), "give it by its name"),
        (Path("s3://bucket/x"), "is a URL"),
    ]:
        with pytest.raises(InputError, match=complaint):
            export_checkpoint(
                choose_checkpoint(checkpoint), ExportRequest(("torch",)), out, QUIET, force=True
            )
    assert (tmp_path / "downloaded" / "model.safetensors").read_bytes() == b"months of training"


def test_a_file_that_differs_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        write_export, "run_onnx", lambda path, normalize: lambda images: np.zeros((len(images), 16))
    )
    with pytest.raises(
        InputError, match=r"model\.onnx differs from the network in torch by 0\.\d+ at a batch of 1"
    ):
        export_checkpoint(choose_checkpoint(checkpoint), ExportRequest(("onnx",)), tmp_path / "out", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.slow
def test_a_network_without_images_is_quantised_unmeasured(checkpoint: Path, tmp_path: Path) -> None:
    request = ExportRequest(("onnx",), quantize="int8")
    done = export_checkpoint(choose_checkpoint(checkpoint), request, tmp_path / "out", QUIET)
    assert done["files"]["model.int8.onnx"]["loss"] is None
    assert (
        "loss not measured, no images: the checkpoint was made outside a run"
        in (tmp_path / "out" / "model.md").read_text()
    )


@pytest.mark.slow
def test_images_that_are_gone_leave_it_unmeasured_too(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = lambda store, image_id, input: BadImage(image_id, "gone")  # noqa: E731
    monkeypatch.setattr("subspace.train.data.images.ImageStore.decode", gone)
    chosen = choose_checkpoint(finished_run / "round-000" / "checkpoint")
    export_checkpoint(chosen, ExportRequest(("onnx",), quantize="int8"), tmp_path / "out", QUIET)
    card = (tmp_path / "out" / "model.md").read_text()
    assert re.search(r"loss not measured, no images: [^/]*: none of [0-9]+ images can be read", card)


def test_an_export_behind_a_link_leaves_the_link(checkpoint: Path, tmp_path: Path) -> None:
    (target := tmp_path / "target").mkdir()
    (link := tmp_path / "link").symlink_to(target)
    for force in (False, True):
        export_checkpoint(
            choose_checkpoint(checkpoint), ExportRequest(("safetensors",)), link, QUIET, force=force
        )
        assert link.is_symlink()
        assert (target / "model.md").is_file()
    assert not list(tmp_path.glob(".*.old"))


def test_weights_of_another_size_and_input_come_back(tmp_path: Path) -> None:
    from subspace.train.data.preprocess_config import PreprocessConfig

    preprocess = PreprocessConfig(size=(48, 64), channels="BGR")
    checkpoint = saved(tmp_path, build_backbone("iresnet18", embedding_size=8, preprocess=preprocess))
    done = export_checkpoint(
        choose_checkpoint(checkpoint), ExportRequest(("safetensors",)), tmp_path / "out", QUIET
    )
    assert done["files"]["model.safetensors"]["difference"] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"formats": ("tflite",)}, "--to tflite: give onnx, safetensors, torch"),
        ({"formats": ("onnx",), "opset": 17}, "--opset 17: torch writes 18 and later"),
        ({"formats": ("torch",), "quantize": "int8"}, "--quantize int8 makes an ONNX file; add --to onnx"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ExportRequest(**given)


def test_missing_packages_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_module, "find_spec", lambda name: None if name == "onnxscript" else name)
    ExportRequest(("torch", "safetensors"))
    with pytest.raises(InputError, match=r"ONNX is missing: pip install 'subspace-mining\[onnx\]'"):
        ExportRequest(("onnx",))

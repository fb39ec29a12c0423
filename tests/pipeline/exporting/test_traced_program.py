"""Networks of every kind become programs that other software runs.

Covers pipeline/exporting/onnx_file.py, pipeline/exporting/torch_file.py and pipeline/exporting/agreement.py, too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_networks import linear_network, random_images
from onnx.reference import ReferenceEvaluator

from subspace.mining import InputError
from subspace.pipeline.exporting.agreement import TOLERANCE, embed_with_torch, largest_difference, references
from subspace.pipeline.exporting.onnx_file import onnx_model, run_onnx, write_onnx
from subspace.pipeline.exporting.torch_file import run_program, write_program
from subspace.pipeline.exporting.traced_program import traced
from subspace.train import ImageInput, build_backbone

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
UNUSUAL = ImageInput((4, 6), **IMAGENET, channels="BGR")


@pytest.mark.parametrize(
    "spec",
    ["small", pytest.param("iresnet18", marks=pytest.mark.slow), "python:exported_networks:transformer"],
)
def test_a_network_is_the_same_in_onnxruntime_for_any_number_of_images(spec: str, tmp_path: Path) -> None:
    network = build_backbone(spec, seed=3).eval()
    path = tmp_path / "model.onnx"
    write_onnx(path, onnx_model(traced(network, "inside"), 18, {}))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 2, 7, 33 if spec != "iresnet18" else 3):
        images = random_images(count, network.input, seed=count)
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        (found,) = session.run(["embedding"], {"images": images})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("preprocessing", ["inside", "outside"])
def test_preprocessing_is_where_it_was_asked_for(preprocessing: str, tmp_path: Path) -> None:
    """By the arithmetic of its definition, and by ONNX's own reference implementation."""
    network, images = linear_network(UNUSUAL), random_images(3, UNUSUAL)
    mean, std = (np.array(IMAGENET[name], np.float32).reshape(1, 3, 1, 1) for name in ("mean", "std"))
    normalized = ((images[:, ::-1].astype(np.float32) / 255) - mean) / std
    embeddings = normalized.reshape(3, -1) @ network.body[1].weight.detach().numpy().T  # pyright: ignore[reportIndexIssue]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)

    program = traced(network, preprocessing)
    model = onnx_model(program, 18, {})
    onnx.checker.check_model(model, full_check=True)
    given = images if preprocessing == "inside" else normalized
    (found,) = ReferenceEvaluator(model).run(None, {"images": given})
    np.testing.assert_allclose(found, embeddings, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        program.module()(torch.from_numpy(given)).detach(), embeddings, rtol=0, atol=1e-5
    )

    normalize = None if preprocessing == "inside" else network.input
    write_onnx(tmp_path / "model.onnx", model)
    write_program(tmp_path / "model.pt2", program, {})
    for run in (run_onnx(tmp_path / "model.onnx", normalize), run_program(tmp_path / "model.pt2", normalize)):
        np.testing.assert_allclose(run(images), embeddings, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [("branching", "without branches on values"), ("counting", r"images\.shape\[0\], not len")],
)
def test_what_cannot_be_traced_is_refused(name: str, words: str) -> None:
    network = build_backbone(f"python:exported_networks:{name}")
    with pytest.raises(InputError, match=rf"cannot trace python:exported_networks:{name}: .*{words}"):
        traced(network, "inside")


@pytest.mark.parametrize("opset", [20, 23])
def test_the_opset_is_the_one_that_was_asked_for(opset: int, tmp_path: Path) -> None:
    network = linear_network(UNUSUAL)
    model = onnx_model(traced(network, "inside"), opset, {"spec": "linear"})
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    write_onnx(tmp_path / "model.onnx", model)
    assert (
        largest_difference("model.onnx", references(network), run_onnx(tmp_path / "model.onnx", None))
        < TOLERANCE
    )


def test_an_opset_that_onnx_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match=r"--opset 999: the installed onnx .* knows up to"):
        onnx_model(traced(linear_network(UNUSUAL), "inside"), 999, {})


def test_weights_that_are_too_large_for_one_file_lie_beside_it(tmp_path: Path) -> None:
    network = build_backbone("small", seed=0).eval()
    path = tmp_path / "model.onnx"
    write_onnx(path, onnx_model(traced(network, "inside"), 18, {}), largest=1_000_000)
    assert (tmp_path / "model.onnx.data").stat().st_size > 2_000_000 > 100_000 > path.stat().st_size
    assert largest_difference("model.onnx", references(network), run_onnx(path, None)) < TOLERANCE


def test_a_difference_is_refused_with_its_size() -> None:
    network = linear_network(UNUSUAL)
    expected = references(network)

    def off(images: np.ndarray) -> np.ndarray:
        return embed_with_torch(network, images) + (0.002 if len(images) == 7 else 0)

    with pytest.raises(InputError, match=r"it differs from the network in torch by 0\.002 at a batch of 7"):
        largest_difference("it", expected, off)
    with pytest.raises(InputError, match=r"differs .* by nan at a batch of 1"):
        largest_difference("it", expected, lambda images: embed_with_torch(network, images) * np.nan)
    with pytest.raises(InputError, match=r"shape \(1, 4\), not \(1, 5\)"):
        largest_difference("it", expected, lambda images: embed_with_torch(network, images)[:, :4])


def test_a_network_that_gives_nan_is_refused() -> None:
    network = linear_network(UNUSUAL)
    network.body[1].bias.data[0] = torch.nan  # pyright: ignore[reportIndexIssue]
    with pytest.raises(InputError, match="gives NaN for random images"):
        references(network)

"""`subspace inspect MODEL`: what a network takes, costs and gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from subspace.mining.errors import InputError
from subspace.pipeline.inspection.network import multiply_adds, names_network, summarize_network
from subspace.train import build_backbone


def inspect(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "subspace.pipeline.cli", "inspect", *words]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_facts_are_those_of_the_network() -> None:
    facts = summarize_network("small").facts
    assert facts["input"] == {
        "size": 32, "mean": 0.5, "std": 0.5, "resize": "stretch", "crop": 1.0, "interpolation": "bilinear",
        "channels": "RGB",
    }  # fmt: skip
    assert (facts["weights"], facts["multiply_adds"], facts["flops"]) == (585_232, 5_685_248, 2 * 5_685_248)
    assert facts["embedding_size"] == 128
    assert (
        summarize_network("small", ["embedding_size=64", "preprocess.size=64"]).facts["embedding_size"] == 64
    )


def test_products_of_attention_are_counted() -> None:
    layer, tokens, D = nn.MultiheadAttention(16, 2, batch_first=True), 5, 16

    class Attention(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = image.reshape(1, tokens, D)
            return layer(x, x, x, need_weights=False)[0]

    own = tokens * D * 3 * D + 2 * tokens * tokens * D + tokens * D * D
    assert multiply_adds(Attention().train(), torch.zeros(1, tokens * D)) == own


@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_of_a_fixed_batch_is_counted_for_one_image(batch: int, tmp_path: Path) -> None:
    program = torch.export.export(build_backbone("small").eval().body, (torch.zeros(batch, 3, 32, 32),))
    torch.export.save(program, tmp_path / "a.pt2")
    said = ["preprocess.mean=0.5", "preprocess.std=0.5", "preprocess.channels=RGB"]
    facts = summarize_network(f"exported:{tmp_path}/a.pt2", said).facts
    assert (facts["multiply_adds"], facts["weights"]) == (5_685_248, 585_232)


def test_command_says_it_and_gives_json() -> None:
    done = inspect("nns2")
    assert done.returncode == 0, done.stderr
    words = done.stderr + done.stdout
    assert "stretched to 140 × 116 px" in words
    assert "19,548,448 an image" in words
    facts = json.loads(inspect("nns2", "--json").stdout)
    assert (facts["kind"], facts["facts"]["weights"], facts["facts"]["input"]["size"]) == (
        "network",
        4_247_248,
        [140, 116],
    )


def test_a_path_that_exists_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_network("iresnet50")
    assert names_network("onnx:nothing")
    assert not names_network("runs/photos")
    monkeypatch.chdir(tmp_path)
    Path("small").mkdir()
    assert inspect("small").stderr == "subspace: small is empty\n"


def test_mistakes_are_one_line() -> None:
    for words, message in (
        (["iresnet51"], "unknown network 'iresnet51'; did you mean iresnet50?"),
        (["nowhere"], "nowhere does not exist"),
        (["nowhere", "embedding_size=3"], "embedding_size=3: settings go with a network"),
        (["small", "embeding_size=3"], "unknown setting 'embeding_size'"),
    ):
        done = inspect(*words)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    with pytest.raises(InputError, match="no such file"):
        summarize_network("onnx:nothing.onnx")


def test_graphs_of_onnx_are_counted(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    w = {"k": [4, 3, 3, 3], "m": [4 * 8 * 8, 5], "g": [7, 5]}
    initializers = [
        helper.make_tensor(name, TensorProto.FLOAT, dims, [0.5] * torch.Size(dims).numel())
        for name, dims in w.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "m"], ["c"]),
        helper.make_node("Gemm", ["c", "g"], ["y"], transB=1),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", 1, ["n", 3, 8, 8])], [info("y", 1, ["n", 7])], initializers
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "a.onnx",
    )
    spec, said = (
        f"onnx:{tmp_path}/a.onnx",
        ["preprocess.mean=0.5", "preprocess.std=0.5", "preprocess.channels=RGB"],
    )
    facts = summarize_network(spec, said).facts
    assert facts["multiply_adds"] == 4 * 27 * 64 + 256 * 5 + 5 * 7
    assert facts["weights"] == 4 * 27 + 256 * 5 + 35
    assert "is frozen and takes any number of float32 BCHW images" in facts["remarks"][0]

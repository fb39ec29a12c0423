"""Names of networks: what each makes, and a wrong one is refused in one line, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from subspace.mining.errors import InputError
from subspace.train.networks.building import build_backbone
from subspace.train.networks.iresnet import IRESNET_BLOCKS
from subspace.train.networks.registry import (
    KNOWN_SPECS,
    NETWORKS,
    check_network,
    file_of,
    refuse_training,
    spec_in,
)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_sizes_of_its_line(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name).eval()
        images = torch.zeros((1, 3, *NETWORKS[name].input.height_and_width))
        assert network(images).shape == (1, NETWORKS[name].embedding_size)


def test_every_depth_has_a_name() -> None:
    assert set(IRESNET_BLOCKS) == {name for name, spec in NETWORKS.items() if spec.module == "iresnet"}


@pytest.mark.parametrize(
    "spec",
    [
        *NETWORKS,
        "python:my_nets:tiny",
        "python:a.b:c",
        "checkpoint:runs/x/start",
        "timm:resnet18",
        "onnx:a.onnx",
    ],
)
def test_good_names_pass(spec: str) -> None:
    check_network(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet999", "unknown network 'resnet999'; did you mean iresnet"),
        ("iresnet51", "did you mean iresnet50?"),
        ("smal", "did you mean small?"),
        ("", "unknown network ''; use one of"),
        ("vit_base_patch16", "unknown network 'vit_base_patch16'; use one of"),
        ("python:my_nets", "'python:my_nets' is incomplete"),
        ("checkpoint:", "'checkpoint:' is incomplete"),
        ("mobilefacenets", "did you mean mobilefacenet?"),
        ("tim:resnet18", "did you mean timm:NAME?"),
        ("onx:a.onnx", "did you mean onnx:FILE?"),
        ("timm:", "'timm:' is incomplete; write timm:NAME"),
        ("onnx:", "'onnx:' is incomplete; write onnx:FILE"),
    ],
)
def test_wrong_names_are_one_line(spec: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_network(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    if "unknown" in message:
        assert all(known in str(caught.value) for known in KNOWN_SPECS)
    with pytest.raises(InputError):
        build_backbone(spec)


@pytest.mark.parametrize(
    ("spec", "weights", "message"),
    [
        ("checkpoint:a", "b.pth", "weights=b.pth: checkpoint:a brings weights of its own"),
        ("onnx:a.onnx", "b.pth", "brings weights of its own"),
        ("iresnet50", "pretrained", "weights=pretrained is for timm:NAME; give iresnet50 a file"),
    ],
)
def test_weights_where_none_are_wanted(spec: str, weights: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_network(spec, weights)
    assert message in str(caught.value)


def test_files_of_specs() -> None:
    assert [file_of(spec) for spec in ("onnx:a/b.onnx#out", "insightface:c.pth", "iresnet50", "checkpoint:d")] == [
        "a/b.onnx", "c.pth", None, None,
    ]  # fmt: skip
    assert spec_in(Path("run/checkpoint"), "onnx:b.onnx") == "onnx:run/checkpoint/model.onnx"
    assert spec_in(Path("run/checkpoint"), "timm:resnet18") == "timm:resnet18"


def test_a_frozen_network_says_what_it_can_do() -> None:
    refuse_training("timm:resnet18")
    with pytest.raises(
        InputError, match=r"^exported:a.pt2 is frozen: `subspace extract`, `cluster`, `plan` and"
    ):
        refuse_training("exported:a.pt2")


def test_a_checkpoint_is_opened_not_built() -> None:
    with pytest.raises(InputError, match=r"call load_network\('checkpoint:somewhere'\)"):
        build_backbone("checkpoint:somewhere")


def test_a_wrong_name_is_refused_without_torch() -> None:
    script = (
        "import sys\n"
        "from subspace.train.networks.registry import check_network\n"
        "try:\n    check_network('resnet999')\nexcept ValueError as error:\n    print(error)\n"
        "print(sorted({'torch', 'numpy', 'faiss', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("unknown network 'resnet999'")
    assert done.stdout.splitlines()[1] == "[]"

"""Names of networks: what each makes, and a wrong one is refused in one line, without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from subspace.mining.errors import InputError
from subspace.train.networks.building import build_backbone
from subspace.train.networks.iresnet import IRESNET_BLOCKS
from subspace.train.networks.registry import KNOWN_SPECS, NETWORKS, check_network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_sizes_of_its_line(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name).eval()
        images = torch.zeros((1, 3, *NETWORKS[name].input.height_and_width))
        assert network(images).shape == (1, NETWORKS[name].embedding_size)


def test_every_depth_has_a_name() -> None:
    assert set(IRESNET_BLOCKS) == {name for name, spec in NETWORKS.items() if spec.module == "iresnet"}


@pytest.mark.parametrize(
    "spec", [*NETWORKS, "python:my_nets:tiny", "python:a.b:c", "checkpoint:runs/x/start"]
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

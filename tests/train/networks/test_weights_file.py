"""Files of published weights: wrappers and prefixes found, what is missing refused, nothing run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from subspace.mining.errors import InputError
from subspace.train.networks.building import build_backbone
from subspace.train.networks.weights_file import load_weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)


def trained() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return {name: torch.rand_like(t.float()).to(t.dtype) for name, t in Net().state_dict().items()}


def under(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in trained().items()}


@pytest.mark.parametrize(
    ("content", "prefix"),
    [
        (trained(), ""),
        (under("module."), "module."),
        (under("module.backbone."), "module.backbone."),
        ({"state_dict": trained(), "epoch": 3}, "state_dict."),
        ({"model": under("body."), "optimizer": {"state": {}, "param_groups": []}}, "model.body."),
        ({"state_dict_backbone": under("module.")}, "state_dict_backbone.module."),
    ],
)
def test_wrappers_and_prefixes_are_left_out_and_said(content: Any, prefix: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    network = Net()
    loaded = load_weights(network, str(tmp_path / "w.pth"))
    assert (loaded.prefix, loaded.tensors, loaded.ignored) == (prefix, 7, ())
    assert all(torch.equal(value, trained()[name]) for name, value in network.state_dict().items())
    assert (f"without '{prefix}' before their names" in str(loaded)) == bool(prefix)


def test_safetensors_and_names_that_the_network_does_not_have(tmp_path: Path) -> None:
    save_file({**trained(), "head.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    loaded = load_weights(Net(), str(tmp_path / "w.safetensors"))
    assert loaded.ignored == ("head.weight",)
    assert str(loaded).endswith("w.safetensors; ignored head.weight, which it does not have")


def test_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    torch.save({name: t for name, t in trained().items() if "tracked" not in name}, tmp_path / "w.pth")
    network = Net()
    assert load_weights(network, str(tmp_path / "w.pth")).tensors == 6
    assert torch.equal(network.bn.running_var, trained()["bn.running_var"])


def test_of_several_networks_one_is_named(tmp_path: Path) -> None:
    torch.save({"student": under("backbone."), "teacher": under("backbone.")}, tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=r"several networks, 'student.backbone' and 'teacher.backbone': name one"
    ):
        load_weights(Net(), str(tmp_path / "w.pth"))
    for part in ("teacher", "teacher.backbone"):
        assert load_weights(Net(), f"{tmp_path}/w.pth#{part}").prefix == "teacher.backbone."
    with pytest.raises(InputError, match=r"w.pth#other has none of the network's names"):
        load_weights(Net(), f"{tmp_path}/w.pth#other")


def test_of_several_networks_the_one_whose_names_stand_alone_is_loaded(tmp_path: Path) -> None:
    torch.save({**under("ema."), **trained(), "fc.weight": torch.zeros(1)}, tmp_path / "w.pth")
    loaded = load_weights(Net(), str(tmp_path / "w.pth"))
    assert (loaded.prefix, loaded.tensors, loaded.ignored, loaded.others) == ("", 7, ("fc.weight",), ("ema",))
    assert str(loaded).endswith(f"does not have; left out other weights for it, {tmp_path}/w.pth#ema")
    assert load_weights(Net(), f"{tmp_path}/w.pth#ema").prefix == "ema."


def refused(path: Path) -> str:
    network = Net()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(network, str(path))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    return str(caught.value)


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    assert refused(path) == f"weights {path}: no such file"
    path.write_bytes(b"not weights")
    assert refused(path)
    torch.save(trained(), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} is not a readable file of weights" in refused(path)
    torch.save({k: v for k, v in trained().items() if k != "conv.bias"}, path)
    assert f"{path} has no conv.bias: it holds other weights" in refused(path)
    torch.save({**trained(), "conv.weight": torch.zeros(8, 3, 3, 3)}, path)
    assert "conv.weight has shape [8, 3, 3, 3], and the network [4, 3, 3, 3]" in refused(path)
    torch.save({"other.weight": torch.zeros(1)}, path)
    assert "none of the network's names: it has other.weight" in refused(path)
    torch.save([1, 2], path)
    assert "holds no tensors by name, but a list" in refused(path)
    (tmp_path / "w.safetensors").write_bytes(b"12345678")
    assert "is not a readable file of weights" in refused(tmp_path / "w.safetensors")


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # pyright: ignore[reportReturnType]

    torch.save({**trained(), "x": Runs()}, tmp_path / "w.pth")
    assert "holds more than tensors" in refused(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
    torch.save({"state_dict": trained(), "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    assert "save the state dict alone" in refused(tmp_path / "w.pth")


def test_a_backbone_is_built_with_them(tmp_path: Path) -> None:
    source = build_backbone("small", seed=3)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in source.body.state_dict().items()}}, tmp_path / "w.pth"
    )
    network = build_backbone("small", weights=str(tmp_path / "w.pth"))
    assert torch.equal(network.body.fc.weight, source.body.fc.weight)
    assert "without 'state_dict.module.'" in network.remarks[0]
    with pytest.raises(InputError, match=r"fc.weight has shape \[128, 4096\], and the network \[64, 4096\]"):
        build_backbone("small", embedding_size=64, weights=str(tmp_path / "w.pth"))

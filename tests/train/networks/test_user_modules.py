"""Networks of the user's own: found, seeded, and one clear line for all that can be wrong with them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch

from subspace.mining.errors import InputError, OwnCodeError, SubspaceWarning
from subspace.train.checkpoint import load_network, load_state, save_checkpoint
from subspace.train.checkpoint_meta import CheckpointMeta, read_meta
from subspace.train.data.image_input import ImageInput
from subspace.train.data.preprocess_config import PreprocessConfig
from subspace.train.networks.backbone import check_embedding
from subspace.train.networks.building import build_backbone

USERS_MODULE = """
import functools
import torch
from torch import nn
from subspace.train.networks.backbone import Backbone, ImageInput
class Net(nn.Module):
    def __init__(self, embedding_size=6, **attributes):
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, embedding_size)
        self.input_size, self.embedding_size = 8, embedding_size
        for name, value in attributes.items():
            setattr(self, name, value)
    def forward(self, images):
        return self.fc(images.flatten(1))

def good(embedding_size=6): return Net(embedding_size)
def scaled(): return Net(mean=0.0, std=1)
partly = functools.partial(Net, mean=0.5)
def whole(): return Backbone(Net(), spec="mine", input=ImageInput(8), embedding_size=6)
def takes_anything(**kwargs): return Net(**kwargs)
def greedy(depth): return Net()
def number(): return 3
def nothing(): return None
def no_size(): net = Net(); del net.input_size; return net
def text_size(): return Net(input_size="8")
def zero_size(): net = Net(); net.embedding_size = 0; return net
def prepared(): return Net(mean=[0.1, 0.2, 0.3], std=(1, 2, 3), resize="crop", crop=0.9, interpolation="bicubic", channels="BGR")
def oblong(input_size=(8, 8)): net = Net(input_size=input_size); net.fc = nn.LazyLinear(6); return net
def two_means(): return Net(mean=[0.5, 0.5])
def text_mean(): return Net(mean="0.5")
def three_sides(): return Net(input_size=(8, 8, 8))
def no_rule(): return Net(resize="squash")
def zero_std(): return Net(std=0)
def broken(): raise ZeroDivisionError("in the user's code")
constant = 3
"""


def random_images(size: int, n: int = 4) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, which is not on sys.path."""
    (tmp_path / "users_networks.py").write_text(USERS_MODULE)
    (tmp_path / "users_broken_import.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_networks", raising=False)
    return "users_networks"


def test_python_spec_finds_a_module_in_the_current_directory(users_module: str) -> None:
    path = list(sys.path)
    network = build_backbone(f"python:{users_module}:good")
    assert sys.path == path
    assert (network.spec, network.input, network.embedding_size) == (
        f"python:{users_module}:good",
        ImageInput(8),
        6,
    )
    torch.testing.assert_close(network(random_images(8)).norm(dim=1), torch.ones(4))
    for name in ("good", "takes_anything"):
        assert build_backbone(f"python:{users_module}:{name}", embedding_size=9).embedding_size == 9
    assert build_backbone(f"python:{users_module}:scaled").input == ImageInput(8, mean=0.0, std=1.0)


def test_attributes_say_how_images_are_prepared(users_module: str) -> None:
    assert build_backbone(f"python:{users_module}:prepared").input == ImageInput(
        8, (0.1, 0.2, 0.3), (1, 2, 3), "crop", 0.9, "bicubic", "BGR"
    )
    over = PreprocessConfig(mean=0.5, size=(8, 6))
    network = build_backbone(f"python:{users_module}:oblong", preprocess=over)
    assert network.input == ImageInput((8, 6))
    assert network(torch.zeros(2, 3, 8, 6, dtype=torch.uint8)).shape == (2, 6)


def test_python_spec_may_return_a_backbone(users_module: str) -> None:
    assert build_backbone(f"python:{users_module}:whole").spec == f"python:{users_module}:whole"


def test_python_spec_without_the_argument_serves_its_own_size(users_module: str) -> None:
    """A checkpoint of it is reopened with the size that it was saved with."""
    assert build_backbone(f"python:{users_module}:scaled", embedding_size=6).embedding_size == 6


def test_python_spec_is_seeded(users_module: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (
        build_backbone(f"python:{users_module}:good", seed=s).body.fc.weight for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_lazy_layers_are_seeded_trainable_and_take_weights(users_module: str, tmp_path: Path) -> None:
    spec = f"python:{users_module}:oblong"
    first, again, other = (build_backbone(spec, seed=s) for s in (1, 1, 2))
    weight = first.body.fc.weight
    assert weight.shape == (6, 3 * 8 * 8)
    assert weight.equal(again.body.fc.weight)
    assert not weight.equal(other.body.fc.weight)
    check_embedding(again)
    again(random_images(8)).sum().backward()
    assert again.body.fc.weight.grad is not None
    torch.save(other.body.state_dict(), tmp_path / "trained.pth")
    assert build_backbone(spec, weights=str(tmp_path / "trained.pth")).body.fc.weight.equal(
        other.body.fc.weight
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("python:", "incomplete"),
        ("python:users_networks", "incomplete"),
        ("python:users_networks:", "incomplete"),
        ("python::good", "incomplete"),
        ("python:no_such_module_here:f", "cannot import 'no_such_module_here'"),
        ("python:.relative:f", "incomplete"),
        ("python:users_broken_import:f", "a_package_that_is_not_there"),
        ("python:users_networks:missing", "has no 'missing'"),
        ("python:users_networks:constant", "'constant' is an int, not a function"),
        ("python:users_networks:greedy", "missing a required argument: 'depth'"),
        ("python:users_networks:number", "returned an int"),
        ("python:users_networks:nothing", "returned a NoneType"),
        ("python:users_networks:no_size", "input_size is None"),
        ("python:users_networks:text_size", "input_size is '8'"),
        ("python:users_networks:zero_size", "embedding_size is 0"),
        (
            "python:users_networks:two_means",
            "image mean [0.5, 0.5]: give one number, or one for each of three",
        ),
        ("python:users_networks:text_mean", "mean is '0.5'"),
        ("python:users_networks:zero_std", "image std 0: it divides"),
        ("python:users_networks:three_sides", "input_size is (8, 8, 8)"),
        ("python:users_networks:no_rule", "image resize 'squash': give stretch, crop, letterbox"),
    ],
)
def test_bad_spec_is_one_clear_line(users_module: str, spec: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_backbone(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", ["whole", "scaled"])
def test_another_embedding_size_than_asked_for_is_refused(users_module: str, function: str) -> None:
    with pytest.raises(InputError, match="embedding_size 6, not 9"):
        build_backbone(f"python:{users_module}:{function}", embedding_size=9)


def test_an_error_inside_the_users_function_has_a_traceback_of_their_code_alone(users_module: str) -> None:
    path = list(sys.path)
    with pytest.raises(OwnCodeError, match=r"raised ZeroDivisionError: .*in the user's code") as caught:
        build_backbone(f"python:{users_module}:broken")
    assert f"{users_module}.py" in caught.value.traceback
    assert "user_modules.py" not in caught.value.traceback
    assert sys.path == path


@pytest.mark.parametrize("function", ["good", "whole", "partly"])
def test_a_checkpoint_says_that_the_code_of_its_network_has_changed(
    users_module: str, tmp_path: Path, function: str
) -> None:
    """Without a word, an index was searched by another network than had made it."""
    spec, folder, file = f"python:{users_module}:{function}", tmp_path / "c", tmp_path / f"{users_module}.py"
    save_checkpoint(folder, build_backbone(spec), CheckpointMeta(spec, 6, step=0, fingerprint="mine"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SubspaceWarning)
        network = load_network(f"checkpoint:{folder}", allow_code=True)
        load_state(folder, network)
    file.write_text(file.read_text().replace("self.fc(", "torch.relu(self.fc)("))
    with pytest.warns(SubspaceWarning) as warned:
        network = load_network(f"checkpoint:{folder}", allow_code=True)
    assert [str(one.message) for one in warned] == [
        f"{file} has changed since {folder} was saved; where that changes what the network computes, its embeddings "
        "are others"
    ]
    with pytest.warns(SubspaceWarning, match="has changed since"):
        load_state(folder, network)
    save_checkpoint(folder, network, read_meta(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SubspaceWarning)
        load_network(f"checkpoint:{folder}", allow_code=True)


def test_only_checkpoints_of_own_networks_keep_a_hash_of_code(users_module: str, tmp_path: Path) -> None:
    file = tmp_path / f"{users_module}.py"
    for spec, is_own in (("small", False), (f"python:{users_module}:good", True)):
        meta, folder = CheckpointMeta(spec, 6, step=0, fingerprint="mine"), tmp_path / str(is_own)
        save_checkpoint(folder, build_backbone(spec, embedding_size=6), meta)
        assert ('"code":' in (folder / "meta.json").read_text()) == is_own
    file.write_text("# moved\n" + file.read_text())
    text = (folder / "meta.json").read_text()
    (folder / "meta.json").write_text(text.replace(f'"code": "{read_meta(folder).code}",', ""))
    with warnings.catch_warnings():  # as those of before, which do not say
        warnings.simplefilter("error", SubspaceWarning)
        load_network(f"checkpoint:{folder}", allow_code=True)

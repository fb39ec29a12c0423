"""Checkpoints come back bit for bit, and a training goes on from one as if it had never stopped.

Covers train/checkpoint_meta.py as well.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from subspace.mining.errors import DamagedFileError, InputError
from subspace.train import checkpoint
from subspace.train.checkpoint import SAMPLED_BYTES, load_network, load_state, save_checkpoint, saving_seconds
from subspace.train.checkpoint_meta import CheckpointMeta, read_meta, read_meta_as_written
from subspace.train.data.batches import ImageBatch
from subspace.train.data.image_input import ImageInput
from subspace.train.data.preprocess_config import PreprocessConfig
from subspace.train.loop import train_steps
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.class_losses import SoftmaxLoss
from subspace.train.losses.partial_fc import PartialFCLoss
from subspace.train.networks.backbone import Backbone
from subspace.train.networks.building import build_backbone
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import ExponentialAverage, TrainingState

META = CheckpointMeta("small", 8, 3, "f" * 32, parent="p", plan="q", config={"zoë": [1, None, 2.5]})
STEPS = 6
OPTIMIZERS = [
    {"name": "adamw"},
    {"name": "adamw", "clip_norm": 0.1},
    {"name": "sgd", "lr": 0.05},
    {"name": "sgd", "lr": 0.05, "momentum": 0},
]


def small(seed: int = 0) -> Backbone:
    return build_backbone("small", embedding_size=8, seed=seed)


def batch(step: int) -> ImageBatch:
    generator = torch.Generator().manual_seed(step)
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageBatch(step, np.arange(6), pixels, [])


def train(network: Backbone, loss: nn.Module, optimizer: Any, config: OptimizerConfig, steps: range) -> None:
    for _ in train_steps(
        TrainingState(network, loss, optimizer),
        map(batch, steps),
        lambda step, image_id: image_id // 2,
        config,
        LoaderConfig(),
        first_step=0,
        total_steps=STEPS,
        device=torch.device("cpu"),
        seed=0,
    ):
        pass


def loss_with_weights(weights: bool) -> nn.Module:
    return SoftmaxLoss(3, 8) if weights else BatchOHNMLoss()


def assert_same(a: Any, b: Any) -> None:
    """Nested state dicts, bit for bit."""
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        present = {key for key in a if a[key] is not None}
        assert present == {key for key in b if b[key] is not None}
        for key in present:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


def assert_equal_files(a: Path, b: Path) -> None:
    assert {path.name: path.read_bytes() for path in a.iterdir()} == {
        path.name: path.read_bytes() for path in b.iterdir()
    }


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("weights", [False, True])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(
    tmp_path: Path, settings: dict[str, Any], weights: bool
) -> None:
    config = OptimizerConfig.model_validate({"warmup_steps": 2, **settings})
    network, loss = small(), loss_with_weights(weights)
    optimizer = build_optimizer([network, loss], config)
    train(network, loss, optimizer, config, range(3))
    save_checkpoint(tmp_path / "c", TrainingState(network, loss, optimizer), META)

    again, loss_again = small(seed=9), loss_with_weights(weights)
    optimizer_again = build_optimizer([again, loss_again], config)
    train(again, loss_again, optimizer_again, config, range(5, 6))  # whatever state there is goes
    load_state(tmp_path / "c", TrainingState(again, loss_again, optimizer_again))

    for steps in (range(0), range(3, STEPS)):
        train(network, loss, optimizer, config, steps)
        train(again, loss_again, optimizer_again, config, steps)
        assert_same(network.state_dict(), again.state_dict())
        assert_same(loss.state_dict(), loss_again.state_dict())
        assert_same(optimizer.state_dict()["state"], optimizer_again.state_dict()["state"])
    save_checkpoint(tmp_path / "whole", TrainingState(network, loss, optimizer), META)
    save_checkpoint(tmp_path / "resumed", TrainingState(again, loss_again, optimizer_again), META)
    assert_equal_files(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_averaged_weights_and_the_loss_scale_go_on_bit_for_bit(tmp_path: Path, precision: str) -> None:
    config = OptimizerConfig(warmup_steps=2)

    def begin(seed: int) -> TrainingState:
        network, loss = small(seed), SoftmaxLoss(3, 8)
        scaler = torch.amp.GradScaler("cpu", growth_interval=2) if precision == "16-mixed" else None
        optimizer = build_optimizer([network, loss], config)
        return TrainingState(network, loss, optimizer, ExponentialAverage(network, 0.9), scaler)

    def go_on(state: TrainingState, steps: range) -> None:
        engine = LoaderConfig.model_validate({"precision": precision})
        settings = {"first_step": 0, "total_steps": STEPS, "device": torch.device("cpu"), "seed": 0}
        for _ in train_steps(state, map(batch, steps), lambda step, i: i // 2, config, engine, **settings):
            pass

    whole, first, again = begin(0), begin(0), begin(9)
    go_on(whole, range(STEPS))
    go_on(first, range(3))
    save_checkpoint(tmp_path / "c", first, META)
    load_state(tmp_path / "c", again)
    go_on(again, range(3, STEPS))
    save_checkpoint(tmp_path / "whole", whole, META)
    save_checkpoint(tmp_path / "resumed", again, META)
    assert_equal_files(tmp_path / "whole", tmp_path / "resumed")
    assert (tmp_path / "whole" / "ema.safetensors").exists()
    if precision == "16-mixed":
        assert read_meta(tmp_path / "whole").scaler["scale"] not in (0, 65536)  # it has moved
    used = load_network(f"checkpoint:{tmp_path / 'whole'}")
    assert whole.ema is not None
    assert_same(used.state_dict(), whole.ema.module.state_dict())


def test_momentum_of_sparse_gradients_is_saved_and_goes_on(tmp_path: Path) -> None:
    config = OptimizerConfig(name="sgd", lr=0.05, weight_decay=0.0, warmup_steps=0)
    states = []
    for seed in (0, 9):
        network, loss = small(seed), PartialFCLoss(3, 8, share=0.5, sparse_gradient=True)
        states.append(TrainingState(network, loss, build_optimizer([network, loss], config)))
    whole, again = states
    train(whole.network, whole.loss, whole.optimizer, config, range(3))
    save_checkpoint(tmp_path / "c", whole, META)
    load_state(tmp_path / "c", again)
    for state in states:
        train(state.network, state.loss, state.optimizer, config, range(3, STEPS))
    assert_same(whole.loss.state_dict(), again.loss.state_dict())


def test_equal_trainings_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        network, loss, config = small(), loss_with_weights(True), OptimizerConfig()
        optimizer = build_optimizer([network, loss], config)
        train(network, loss, optimizer, config, range(2))
        save_checkpoint(tmp_path / name, TrainingState(network, loss, optimizer), META)
    names = ["loss.safetensors", "meta.json", "model.safetensors", "optimizer.safetensors"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert_equal_files(tmp_path / "a", tmp_path / "b")


def test_others_read_the_weights_and_people_the_meta(tmp_path: Path) -> None:
    network = small()
    save_checkpoint(tmp_path / "c", network, META)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["meta.json", "model.safetensors"]
    assert_same(dict(network.state_dict()), load_file(tmp_path / "c" / "model.safetensors"))
    text = (tmp_path / "c" / "meta.json").read_text(encoding="utf-8")
    digest = hashlib.sha256((tmp_path / "c" / "model.safetensors").read_bytes()).hexdigest()
    own = json.loads(text)["files"]["meta.json"]
    told = replace(
        META, input=ImageInput(32).to_json(), files={"model.safetensors": digest, "meta.json": own}
    )
    assert {**json.loads(text), "code": ""} == asdict(told)  # there only where a network is the user's own
    assert "zoë" in text
    assert read_meta(tmp_path / "c") == told


def test_how_long_saving_takes_is_told_by_a_file_that_is_gone_again(tmp_path: Path) -> None:
    assert saving_seconds(tmp_path, SAMPLED_BYTES) == 0
    assert saving_seconds(tmp_path / "missing", 4 * SAMPLED_BYTES) == 0
    assert 0 < saving_seconds(tmp_path, 4 * SAMPLED_BYTES) < 600
    assert list(tmp_path.iterdir()) == []


def test_saving_does_not_change_what_is_saved_and_replaces_what_was_there(tmp_path: Path) -> None:
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loss = SoftmaxLoss(3, 8)
    optimizer = build_optimizer([network, loss], OptimizerConfig())
    save_checkpoint(tmp_path / "c", TrainingState(network, loss, optimizer), META)
    save_checkpoint(tmp_path / "c", network, replace(META, step=4))
    assert_same(network.state_dict(), before)
    assert read_meta(tmp_path / "c").step == 4
    assert not (tmp_path / "c" / "loss.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_tied_and_strided_weights_are_saved(tmp_path: Path) -> None:
    network = small()
    network.body.tied = network.body.fc  # type: ignore[assignment]
    network.to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c", network, META)
    other = small(seed=1)
    other.body.tied = other.body.fc  # type: ignore[assignment]
    load_state(tmp_path / "c", other)
    assert_same(other.state_dict(), network.state_dict())


def test_a_network_opens_by_name_or_checkpoint(tmp_path: Path) -> None:
    network = small(seed=5)
    train(
        network, SoftmaxLoss(3, 8), build_optimizer([network], OptimizerConfig()), OptimizerConfig(), range(2)
    )
    save_checkpoint(tmp_path / "c", network, META)
    opened = load_network(f"checkpoint:{tmp_path}/c")
    assert (opened.spec, opened.embedding_size) == ("small", 8)
    assert_same(opened.state_dict(), network.state_dict())
    assert_same(load_network(f"checkpoint:{tmp_path}/c", embedding_size=8).state_dict(), network.state_dict())
    assert_same(load_network("small", embedding_size=8, seed=5).state_dict(), small(seed=5).state_dict())
    with pytest.raises(InputError, match=r"embedding_size=16, but .* has 8; leave it null"):
        load_network(f"checkpoint:{tmp_path}/c", embedding_size=16)


def test_what_lies_over_a_checkpoints_images_is_the_users_alone(tmp_path: Path) -> None:
    """Its own crop goes with its own resize; another size than its weights are for is no damage."""
    network = build_backbone(
        "small", embedding_size=8, preprocess=PreprocessConfig(resize="crop", crop=0.875)
    )
    save_checkpoint(tmp_path / "c", network, META)

    def opened_with(**over: Any) -> ImageInput:
        return load_network(f"checkpoint:{tmp_path}/c", preprocess=PreprocessConfig(**over)).input

    assert opened_with(mean=0.25) == replace(network.input, mean=0.25)
    for resize in ("stretch", "letterbox"):
        assert opened_with(resize=resize) == replace(network.input, resize=resize, crop=1.0)
    with pytest.raises(InputError, match=r"preprocess\.crop=0\.5 counts with resize=crop only"):
        opened_with(resize="stretch", crop=0.5)
    with pytest.raises(InputError, match=r"preprocess\.size=64: .* has weights for 32 alone; leave it out"):
        opened_with(size=64)


def trained_checkpoint(folder: Path) -> None:
    network, loss, config = small(), SoftmaxLoss(3, 8), OptimizerConfig()
    optimizer = build_optimizer([network, loss], config)
    train(network, loss, optimizer, config, range(1))
    save_checkpoint(folder, TrainingState(network, loss, optimizer), META)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "loss.safetensors"])
def test_missing_and_damaged_files_are_told_in_one_line(tmp_path: Path, file: str) -> None:
    trained_checkpoint(tmp_path / "c")
    whole = (tmp_path / "c" / file).read_bytes()
    header = bytearray(whole)
    header[20] ^= 0xFF
    for damaged in (None, b"", whole[:5], whole[: len(whole) // 2], whole[:-1], bytes(header), b"x" * 1000):
        (tmp_path / "c" / file).unlink(missing_ok=True)
        if damaged is not None:
            (tmp_path / "c" / file).write_bytes(damaged)
        network, loss = small(), SoftmaxLoss(3, 8)
        optimizer = build_optimizer([network, loss], OptimizerConfig())
        with pytest.raises(DamagedFileError, match="cannot load checkpoint") as error:
            load_state(tmp_path / "c", TrainingState(network, loss, optimizer))
        assert "\n" not in str(error.value)
        assert str(tmp_path / "c") in str(error.value)


def test_another_shape_is_told_in_one_line(tmp_path: Path) -> None:
    trained_checkpoint(tmp_path / "c")
    for network, loss in (
        (build_backbone("small", embedding_size=4), None),
        (small(), SoftmaxLoss(5, 8)),
        (build_backbone("iresnet18"), None),
    ):
        optimizer = build_optimizer([network, *([loss] if loss else [])], OptimizerConfig())
        state = TrainingState(network, loss or BatchOHNMLoss(), optimizer)
        with pytest.raises(DamagedFileError, match="cannot load checkpoint") as error:
            load_state(tmp_path / "c", state)
        assert "\n" not in str(error.value)


def test_damaged_meta_is_told_in_one_line(tmp_path: Path) -> None:
    trained_checkpoint(tmp_path / "c")
    meta = tmp_path / "c" / "meta.json"
    whole = meta.read_text(encoding="utf-8")
    foreign = json.dumps({"model_type": "bert"})
    unknown = json.dumps({**json.loads(whole), "later_field": 1})
    for damaged in ("", whole[: len(whole) // 2], "[1, 2]", "3", foreign, unknown):
        meta.write_text(damaged, encoding="utf-8")
        for read in (lambda: read_meta(tmp_path / "c"), lambda: load_network(f"checkpoint:{tmp_path}/c")):
            with pytest.raises(DamagedFileError) as error:
                read()
            assert "\n" not in str(error.value)
            assert str(tmp_path / "c") in str(error.value)
    meta.unlink()
    for folder in (tmp_path / "c", tmp_path / "none"):
        with pytest.raises(InputError, match=r"is not a checkpoint \(it has no meta.json\)"):
            read_meta(folder)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trained_checkpoint(tmp_path / "c")
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (marker.touch, ())

    torch.save({"x": Payload()}, tmp_path / "c" / "model.safetensors")
    with pytest.raises(DamagedFileError):
        load_network(f"checkpoint:{tmp_path}/c")
    assert not marker.exists()


def test_meta_is_written_in_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from dataclasses import replace;"
        "from subspace.train.checkpoint import CheckpointMeta, save_checkpoint;"
        "from subspace.train.networks.building import build_backbone;"
        "save_checkpoint(Path(sys.argv[1]), build_backbone('small'), CheckpointMeta('small', 128, 0, 'f'))"
    )
    options = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:subspace.train.checkpoint"]
    command = [sys.executable, *options, "-c", script, str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(tensors: dict[str, Tensor], path: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(InputError) as error:
        save_checkpoint(tmp_path / "c", small(), CheckpointMeta("small", 8, 0, "mine"))
    assert str(error.value) == (
        f"cannot write {tmp_path}/c: No space left on device (os error 28); check permissions and free space"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"step": 5}, {"fingerprint": "g" * 32}, {"collapse": {"level": 1}}, {"images": {"read": 3}}]
)
def test_what_a_training_goes_on_from_is_as_written(tmp_path: Path, change: dict[str, object]) -> None:
    save_checkpoint(tmp_path / "c", small(), META)
    path = tmp_path / "c" / "meta.json"
    assert read_meta_as_written(tmp_path / "c") == read_meta(tmp_path / "c")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(dict(sorted(values.items()))))  # spaces and order say nothing
    read_meta_as_written(tmp_path / "c")
    path.write_text(json.dumps(values | change))
    with pytest.raises(DamagedFileError, match=r"meta.json is damaged: it is not as it was written"):
        read_meta_as_written(tmp_path / "c")
    assert read_meta(tmp_path / "c").spec == "small"  # one may edit it, and use the network
    _without_checksums(tmp_path / "c")
    read_meta_as_written(tmp_path / "c")


def _without_checksums(folder: Path) -> None:
    """As checkpoints were before there were any."""
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(
        json.dumps({key: value for key, value in meta.items() if key != "files"})
    )


def test_a_flipped_bit_is_seen_when_the_checkpoint_is_opened(tmp_path: Path) -> None:
    trained_checkpoint(tmp_path / "c")
    path = tmp_path / "c" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"model\.safetensors is not as it was written"):
        load_network(f"checkpoint:{tmp_path}/c")


@pytest.mark.parametrize(
    "change",
    [{"images": []}, {"images": {"unreadable": "x"}}, {"collapse": {"peak": "x"}}, {"collapse": {"losses": ["x"]}},
     {"collapse": {"level": "x"}}, {"scaler": {"scale": "x"}}, {"arithmetic": {"precision": 3}}],
)  # fmt: skip
def test_a_meta_is_checked_in_full(tmp_path: Path, change: dict[str, Any]) -> None:
    save_checkpoint(tmp_path / "c", small(), META)
    path = tmp_path / "c" / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DamagedFileError, match=r"meta\.json is damaged"):
        read_meta(tmp_path / "c")


class _Masked(nn.Module):
    """Attention masks are often buffers with -inf."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))


def test_a_buffer_that_is_built_infinite_is_loaded(tmp_path: Path) -> None:
    network, other = (
        Backbone(_Masked(), spec="small", input=ImageInput(32), embedding_size=4) for _ in range(2)
    )
    save_checkpoint(tmp_path / "c", network, CheckpointMeta("small", 4, step=0, fingerprint="0"))
    load_state(tmp_path / "c", other)
    assert torch.equal(other.body.layer.weight, network.body.layer.weight)
    file = tmp_path / "c" / "model.safetensors"
    whole = load_file(file)
    for last, wrong in (("mask", torch.inf), ("mask", torch.nan), ("bias", torch.inf)):
        name = next(name for name in whole if name.endswith(last))
        save_file({**whole, name: torch.full_like(whole[name], wrong)}, file)
        _without_checksums(tmp_path / "c")
        with pytest.raises(DamagedFileError, match=f"{name} of model.safetensors holds NaN or infinity"):
            load_state(tmp_path / "c", other)


def test_weights_of_another_type_or_not_finite_are_refused(tmp_path: Path) -> None:
    trained_checkpoint(tmp_path / "c")
    path = tmp_path / "c" / "model.safetensors"
    whole = load_file(path)
    name = next(name for name, tensor in whole.items() if tensor.is_floating_point())
    for other, why in (
        (whole[name].double(), "is torch.float64, not torch.float32"),
        (torch.full_like(whole[name], torch.nan), "holds NaN or infinity"),
        (torch.full_like(whole[name], torch.inf), "holds NaN or infinity"),
    ):
        save_file({**whole, name: other}, path)
        _without_checksums(tmp_path / "c")
        with pytest.raises(DamagedFileError, match=why):
            load_network(f"checkpoint:{tmp_path}/c")

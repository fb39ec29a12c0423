"""Staged unfreezing: what rests stays the same bit for bit, what trains moves, and a stage can be resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from subspace.mining import InputError
from subspace.train.checkpoint import load_state, save_checkpoint
from subspace.train.checkpoint_meta import CheckpointMeta
from subspace.train.data.batches import ImageBatch
from subspace.train.loop import train_steps
from subspace.train.losses.class_losses import SoftmaxLoss
from subspace.train.networks.backbone import Backbone
from subspace.train.networks.building import build_backbone
from subspace.train.networks.head import head_parameters
from subspace.train.optimizer_config import OptimizerConfig, UnfreezeConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import TrainingState
from subspace.train.unfreezing import Unfreezing, blocks_below

HEAD_FIRST = UnfreezeConfig(head_steps=2, block_steps=2)


def config_with(unfreeze: UnfreezeConfig, name: str = "adamw", **changed: object) -> OptimizerConfig:
    values = {"name": name, "lr": 0.01, "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.1}
    return OptimizerConfig.model_validate({**values, "unfreeze": unfreeze, **changed})


def begin(network: Backbone, config: OptimizerConfig) -> tuple[nn.Module, torch.optim.Optimizer, Unfreezing]:
    loss = SoftmaxLoss(3, network.embedding_size)
    optimizer = build_optimizer([network, loss], config)
    return loss, optimizer, Unfreezing(network, config.unfreeze, config.head)


def train(
    network: Backbone,
    config: OptimizerConfig,
    begun: tuple[nn.Module, torch.optim.Optimizer, Unfreezing],
    steps: range,
) -> None:
    loss, optimizer, unfreezing = begun
    size = network.input.size
    batches = (
        ImageBatch(
            step,
            np.arange(6),
            torch.randint(
                0, 256, (6, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(step)
            ),
            [],
        )
        for step in steps
    )
    records = train_steps(
        TrainingState(network, loss, optimizer), batches, lambda step, image_id: image_id // 2, config, LoaderConfig(),
        first_step=0, total_steps=20, device=torch.device("cpu"), seed=0, unfreezing=unfreezing,
    )  # fmt: skip
    assert [record.step for record in records] == list(steps)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def first_parts(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names}


def test_blocks_of_iresnet_are_its_stages() -> None:
    network = build_backbone("iresnet18")
    blocks = blocks_below(network, head_parameters(network))
    assert [sorted(first_parts(set(block))) for block in blocks] == [
        ["bn1", "conv1", "prelu"], ["layer1"], ["layer2"], ["layer3"], ["bn2", "layer4"],
    ]  # fmt: skip
    named = [name for block in blocks for name in block] + sorted(head_parameters(network))
    assert sorted(named) == sorted(name for name, _ in network.named_parameters())


def test_one_sequential_is_taken_apart() -> None:
    network = build_backbone("small")
    blocks = blocks_below(network, head_parameters(network))
    assert [sorted({name.split(".")[2] for name in block}) for block in blocks] == [
        ["0", "1"], ["4", "5"], ["7", "8"], ["10", "11"],
    ]  # fmt: skip


def test_a_wrapped_network_is_opened_and_its_own_weights_go_first() -> None:
    inner = nn.Module()
    inner.token = nn.Parameter(torch.zeros(1, 1, 4))
    inner.norm = nn.LayerNorm(4)
    inner.embed = nn.Linear(4, 4)
    inner.layers = nn.Linear(4, 4)
    inner.last_norm = nn.LayerNorm(4)
    outer = nn.Module()
    outer.network = inner
    outer.fc = nn.Linear(4, 2)
    blocks = blocks_below(outer, head_parameters(outer))
    assert [sorted({name.split(".")[1] for name in block}) for block in blocks] == [
        ["embed", "norm", "token"], ["last_norm", "layers"],
    ]  # fmt: skip


@pytest.mark.parametrize("head_steps", [0, 1, 3, "all"])
@pytest.mark.parametrize("block_steps", [0, 1, 4])
def test_the_stages_are_those_of_a_slow_calendar(head_steps: int | str, block_steps: int) -> None:
    network = build_backbone("iresnet18")
    unfreezing = Unfreezing(
        network, UnfreezeConfig.model_validate({"head_steps": head_steps, "block_steps": block_steps})
    )
    head = head_parameters(network)
    below = blocks_below(network, head)
    asleep, at_last = list(below), 10**9 if head_steps == "all" else int(head_steps)
    if at_last == 0 and block_steps == 0:
        asleep = []
    for step in range(25):
        if step >= at_last and asleep and (block_steps == 0 or (step - at_last) % block_steps == 0):
            asleep = [] if block_steps == 0 else asleep[:-1]
        assert unfreezing.frozen_at(step) == {name for block in asleep for name in block}
        unfreezing.apply(step)
        trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        # the network itself holds this one still
        assert trainable == {
            name for name, _ in network.named_parameters() if name != "body.features.weight"
        } - unfreezing.frozen_at(step)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        *(("small", optimizer) for optimizer in ("adamw", "sgd", "adagrad")),
        ("iresnet18", "adamw"),
        *(pytest.param("iresnet18", optimizer, marks=pytest.mark.slow) for optimizer in ("sgd", "adagrad")),
    ],
)
def test_what_rests_stays_and_what_trains_moves(name: str, optimizer: str) -> None:
    network = build_backbone(name, embedding_size=8)
    config = config_with(HEAD_FIRST, optimizer)
    begun = begin(network, config)
    blocks = blocks_below(network, head_parameters(network))
    for stage, steps in enumerate((range(0, 2), range(2, 4), range(4, 6))):
        before = state_of(network)
        train(network, config, begun, steps)
        awake = {name for block in blocks[len(blocks) - stage :] for name in block}
        asleep = {name for block in blocks[: len(blocks) - stage] for name in block}
        after = state_of(network)
        changed = moved(before, after)
        assert changed.isdisjoint(asleep)
        assert awake <= changed
        assert "body.fc.weight" in changed
        # what the network itself holds still is not woken
        trained = {n for n, p in network.named_parameters() if p.requires_grad}
        assert ("body.features.weight" in trained) == (name == "small")
        assert "body.features.weight" not in changed or name == "small"
        # batch norms rest and move with their own weights
        for buffer in (name for name in before if name.endswith("running_mean")):
            norm = buffer.removesuffix("running_mean")
            assert (buffer in changed) == (norm + "bias" not in asleep), buffer
            assert (norm + "num_batches_tracked" in changed) == (norm + "bias" not in asleep), buffer


def test_everything_moves_after_the_last_block() -> None:
    network = build_backbone("small", embedding_size=8)
    config = config_with(UnfreezeConfig(head_steps=1))
    begun = begin(network, config)
    train(network, config, begun, range(1))
    before = state_of(network)
    train(network, config, begun, range(1, 3))
    assert moved(before, state_of(network)) == set(before)
    assert all(module.training for module in network.modules())


def test_a_head_for_ever_keeps_the_body() -> None:
    network = build_backbone("small", embedding_size=8)
    before = state_of(network)
    config = config_with(UnfreezeConfig(head_steps="all"))
    train(network, config, begin(network, config), range(8))
    assert first_parts(moved(before, state_of(network))) == {"fc", "features"}


@pytest.mark.parametrize("name", ["small", "iresnet18"])
def test_the_backward_pass_ends_at_the_lowest_parameter_that_trains(name: str) -> None:
    network = build_backbone(name, embedding_size=8)
    unfreezing = Unfreezing(network, HEAD_FIRST)
    seen: dict[str, Tensor] = {}
    for child, module in network.named_modules():
        module.register_forward_hook(lambda _m, _i, out, child=child: seen.update({child: out}))
    images = torch.zeros(2, 3, network.input.size, network.input.size, dtype=torch.uint8)
    network.train()
    unfreezing.apply(0)
    network(images)
    assert seen["body.fc"].grad_fn is not None
    below = [
        child
        for child in seen
        if child and child != "body" and not child.startswith(("body.fc", "body.feat"))
    ]
    assert len(below) > 10
    assert all(seen[child].grad_fn is None for child in below)
    unfreezing.apply(6)  # three blocks have joined
    network(images)
    last, first = ("convolutions.11", "convolutions.0") if name == "small" else ("layer4", "conv1")
    assert seen[f"body.{last}"].grad_fn is not None
    assert seen[f"body.{first}"].grad_fn is None


def test_apply_says_what_changed_and_holds_against_train() -> None:
    network = build_backbone("small", embedding_size=8)
    unfreezing = Unfreezing(network, HEAD_FIRST)
    assert [unfreezing.apply(step) for step in range(12)] == [
        step in (0, 2, 4, 6, 8) for step in range(12)
    ]  # 4 blocks; all of them train from step 8 on
    assert unfreezing.apply(1)
    network.train()
    assert not unfreezing.apply(1)
    modes = {name: module.training for name, module in network.named_modules()}
    assert not modes["body.convolutions"]
    assert not modes["body.convolutions.1"]
    assert modes["body.features"]
    assert modes["body"]
    assert not any(Unfreezing(network, UnfreezeConfig()).apply(step) for step in range(3))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adagrad"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_stage_resumed_from_disk_gives_the_same_bytes(tmp_path: Path, optimizer: str, cut: int) -> None:
    config = config_with(HEAD_FIRST, optimizer, body_lr_factor=0.1)

    def fresh() -> Backbone:
        return build_backbone("small", embedding_size=8)

    whole = fresh()
    whole_begun = begin(whole, config)
    train(whole, config, whole_begun, range(7))

    first = fresh()
    begun = begin(first, config)
    train(first, config, begun, range(cut))
    state = TrainingState(first, begun[0], begun[1])
    save_checkpoint(tmp_path / "c", state, CheckpointMeta("small", 8, cut, "f"))
    second = fresh()
    begun = begin(second, config)
    load_state(tmp_path / "c", TrainingState(second, begun[0], begun[1]))
    train(second, config, begun, range(cut, 7))
    assert moved(state_of(whole), state_of(second)) == set()
    assert moved(state_of(whole_begun[0]), state_of(begun[0])) == set()


def test_a_head_that_is_not_there_is_refused_only_when_stages_need_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    Unfreezing(network, UnfreezeConfig())
    with pytest.raises(InputError, match="no linear layer"):
        Unfreezing(network, UnfreezeConfig(head_steps=3))

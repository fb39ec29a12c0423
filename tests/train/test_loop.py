"""The training loop: it learns, it repeats itself exactly, and it skips what cannot teach.

Covers train/step_record.py and train/training_state.py as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from subspace.train import distributed
from subspace.train.data.batches import ImageBatch
from subspace.train.data.images import BadImage
from subspace.train.loop import train_steps
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.class_losses import SoftmaxLoss
from subspace.train.monitoring.phase_clock import Phases
from subspace.train.networks.backbone import Backbone, ImageInput
from subspace.train.networks.building import build_backbone
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer, learning_rate
from subspace.train.step_record import StepRecord
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import ExponentialAverage, TrainingState, flat_state

LEVEL = OptimizerConfig(lr=3e-3, schedule="constant", warmup_steps=0)
TOTAL = 20


def toy_batch(step: int, identities: int = 4, images: int = 3) -> ImageBatch:
    """Noisy copies of a fixed pattern for each identity; image `i` is of identity `i // images`."""
    patterns = np.random.default_rng(0).integers(0, 256, (identities, 3, 8, 8))
    noise = np.random.default_rng(step + 1).normal(0, 60, (identities, images, 3, 8, 8))
    pixels = np.clip(patterns[:, None] + noise, 0, 255).astype(np.uint8).reshape(-1, 3, 8, 8)
    return ImageBatch(step, np.arange(len(pixels)), torch.from_numpy(pixels), [])


def labels_of(step: int, image_id: np.ndarray) -> np.ndarray:
    return (image_id // 3).astype(np.int32)


class TinyNetwork(nn.Module):
    """Linear layers with dropout and batch norm, so that modes and seeds matter."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(192, 24),
            nn.BatchNorm1d(24),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(24, 8),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def tiny_backbone(dropout: float = 0.0) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Backbone(TinyNetwork(dropout), spec="tiny", input=ImageInput(8), embedding_size=8)


def train(
    batches: Iterable[ImageBatch],
    network: Backbone | None = None,
    loss: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    config: OptimizerConfig = LEVEL,
    **changed: Any,
) -> tuple[Backbone, list[StepRecord]]:
    network = network or tiny_backbone()
    loss = loss or BatchOHNMLoss(margin=1.0)
    optimizer = optimizer or build_optimizer([network, loss], config)
    settings = {
        "first_step": 0,
        "total_steps": TOTAL,
        "device": torch.device("cpu"),
        "seed": 0,
    }
    engine = LoaderConfig.model_validate(
        {key: changed.pop(key) for key in [*changed] if key in LoaderConfig.model_fields}
    )
    state = TrainingState(network, loss, optimizer)
    records = train_steps(state, batches, labels_of, config, engine, **(settings | changed))
    return network, list(records)


def losses(records: list[StepRecord]) -> list[float]:
    return [record.loss.item() for record in records if record.loss is not None]


def assert_equal_states(a: nn.Module, b: nn.Module) -> None:
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("with_classes", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_lowers_the_loss(name: str, with_classes: bool, precision: str) -> None:
    config = OptimizerConfig.model_validate(
        {"name": name, "lr": 0.01 if name == "adamw" else 0.05, "schedule": "constant", "warmup_steps": 0}
    )
    loss = SoftmaxLoss(4, 8, scale=8) if with_classes else None
    _, records = train(map(toy_batch, range(30)), loss=loss, config=config, precision=precision)
    values = losses(records)
    assert np.mean(values[-5:]) < 0.7 * np.mean(values[:5])


def test_the_small_network_learns_one_batch() -> None:
    network = build_backbone("small", embedding_size=16)
    pixels = torch.randint(
        0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    batches = (ImageBatch(step, np.arange(8) * 3 // 2, pixels, []) for step in range(15))
    _, records = train(batches, network, BatchOHNMLoss(soft_margin=True))
    assert losses(records)[-1] < 0.7 * losses(records)[0]


def test_the_time_of_a_step_is_charged_to_its_phases() -> None:
    class SlowLoss(BatchOHNMLoss):
        def forward(self, *args: Any, **named: Any) -> Tensor:
            time.sleep(0.05)
            return super().forward(*args, **named)

    def slow_batches() -> Iterable[ImageBatch]:
        for step in range(3):
            time.sleep(0.1)
            yield toy_batch(step)

    phases = Phases()
    started = time.perf_counter()
    train(slow_batches(), loss=SlowLoss(margin=1.0), phases=phases)
    seconds, whole = phases.take(), time.perf_counter() - started
    assert list(seconds) == ["data", "forward", "loss", "backward", "update"]
    assert seconds["data"] >= 0.3
    assert seconds["loss"] >= 0.15
    assert sum(seconds.values()) <= whole


def test_a_record_shows_the_batch_of_unit_length_and_holds_no_graph() -> None:
    _, records = train(map(toy_batch, range(2)))
    for step, record in enumerate(records):
        assert record.embeddings is not None
        assert record.batch is not None
        assert record.labels is not None
        assert record.batch.step == step
        assert not record.embeddings.requires_grad
        assert record.embeddings.shape == (12, 8)
        assert torch.allclose(record.embeddings.norm(dim=1), torch.ones(12), atol=1e-6)
        assert record.labels.tolist() == labels_of(0, record.batch.image_id).tolist()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_equal_trainings_are_equal_bit_for_bit(dropout: float) -> None:
    trained = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        trained.append(train(map(toy_batch, range(6)), tiny_backbone(dropout)))
    assert losses(trained[0][1]) == losses(trained[1][1])
    assert_equal_states(trained[0][0], trained[1][0])


def test_dropout_follows_seed_and_step() -> None:
    def first_loss(step: int = 0, **changed: Any) -> float:
        batch = toy_batch(0)
        again = ImageBatch(step, batch.image_id, batch.images, [])
        return losses(train([again], tiny_backbone(0.5), **changed)[1])[0]

    plain = first_loss()
    assert first_loss(seed=1) != plain
    assert first_loss(step=1) != plain
    assert first_loss(step=0, first_step=7) == first_loss(step=7)
    assert first_loss(step=0, first_step=7) != plain


def test_a_training_may_be_cut_between_any_two_steps() -> None:
    whole, _ = train(map(toy_batch, range(6)), tiny_backbone(0.5))
    network, loss = tiny_backbone(0.5), BatchOHNMLoss(margin=1.0)
    optimizer = build_optimizer([network], LEVEL)
    for steps in (range(0, 2), range(2, 3), range(3, 6)):
        train(map(toy_batch, steps), network, loss, optimizer)
    assert_equal_states(whole, network)


def test_the_learning_rate_spans_the_rounds() -> None:
    config = OptimizerConfig(lr=0.01, warmup_steps=4)
    optimizers = []
    for first_step in (0, 10):
        network = tiny_backbone()
        optimizer = build_optimizer([network], config)
        _, records = train(
            map(toy_batch, range(3)), network, optimizer=optimizer, config=config, first_step=first_step
        )
        optimizers.append(optimizer)
        expected = [learning_rate(config, first_step + step, TOTAL) for step in range(3)]
        assert [record.lr for record in records] == expected
        assert [record.step for record in records] == [0, 1, 2]
        assert [group["lr"] for group in optimizer.param_groups] == expected[-1:] * 2


def test_batches_with_fewer_than_two_images_change_nothing() -> None:
    network = tiny_backbone()
    bad = [BadImage(5, "damaged")]
    batches = [
        ImageBatch(step, np.arange(n), torch.zeros(n, 3, 8, 8, dtype=torch.uint8), bad)
        for step, n in enumerate((0, 1))
    ]
    _, records = train(batches, network)
    assert_equal_states(network, tiny_backbone())
    for record, n in zip(records, (0, 1), strict=True):
        assert (record.images, record.bad, record.loss, record.statistics) == (n, bad, None, None)


def test_a_batch_without_triplets_moves_no_weight() -> None:
    network = tiny_backbone()
    batch = toy_batch(0, identities=1)
    _, records = train([batch], network, config=LEVEL.model_copy(update={"weight_decay": 0.0}))
    assert losses(records) == [0]
    for ours, fresh in zip(network.parameters(), tiny_backbone().parameters(), strict=True):
        assert torch.equal(ours, fresh)


def test_records_carry_no_graph() -> None:
    _, records = train(map(toy_batch, range(2)))
    for record in records:
        assert record.loss is not None
        assert record.statistics is not None
        assert not record.loss.requires_grad
        assert not any(number.requires_grad for number in record.statistics)
        assert record.images == 12


def test_a_network_in_evaluation_mode_is_put_to_training() -> None:
    network, _ = train([toy_batch(0)], tiny_backbone(0.5).eval())
    assert network.training
    assert_equal_states(network, train([toy_batch(0)], tiny_backbone(0.5))[0])


def test_clipping_bounds_the_gradient() -> None:
    for clip, largest in ((None, np.inf), (0.01, 0.01), (1e6, np.inf)):
        network = tiny_backbone()
        config = OptimizerConfig(
            name="sgd", lr=1.0, momentum=0, weight_decay=0, warmup_steps=0, clip_norm=clip
        )
        train([toy_batch(0)], network, config=config)
        moved = sum(
            ((a - b) ** 2).sum().item()
            for a, b in zip(network.parameters(), tiny_backbone().parameters(), strict=True)
        )
        assert 0 < moved**0.5 <= largest * 1.001
        assert clip == 0.01 or moved**0.5 > 0.01


class CountedOperators(TorchDispatchMode):
    """Counts what is launched."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += func._schema.name.startswith(("aten::copy", "aten::_foreach", "aten::lerp"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("norms", [0, 1, 30])
def test_averaged_weights_move_in_as_many_operators_whatever_the_network(norms: int) -> None:
    """Each batch norm counts its batches in a buffer, and each was copied by itself: 79 launches for iresnet50."""
    body = nn.Sequential(nn.Linear(4, 4), *(nn.BatchNorm1d(4) for _ in range(norms)))
    network = Backbone(body, spec="tiny", input=ImageInput(8), embedding_size=4)
    average = ExponentialAverage(network, 0.5)
    body(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    with CountedOperators() as launched:
        average.update_parameters(network)
    assert launched.count == (2 if norms else 1)
    for name, own in average.module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert own == 1
    assert average.n_averaged == 2


def test_only_the_process_that_writes_copies_what_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process copied network, optimiser and averaged weights to the host, and threw all but one copy away."""
    network = tiny_backbone()
    optimizer = build_optimizer([network], LEVEL)
    train([toy_batch(0)], network, optimizer=optimizer)
    kept = {value.data_ptr() for state in optimizer.state.values() for value in state.values()}
    for process, copied in ((0, True), (1, False)):
        monkeypatch.setattr(distributed, "rank", lambda process=process: process)
        saved = flat_state(optimizer)
        assert len(saved) == len(kept)
        assert {tensor.data_ptr() in kept for tensor in saved.values()} == {not copied}

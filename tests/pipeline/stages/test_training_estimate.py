"""What a training is said to take follows from what a step is timed at, here made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stages import training_estimate
from subspace.train import build_backbone, distributed
from subspace.train.data.settings import AugmentConfig
from subspace.train.losses.cross_batch_memory import CrossBatchMemory
from subspace.train.losses.oim import OIMLoss
from subspace.train.losses.partial_fc import PartialFCLoss, SubspaceSoftmaxLoss
from subspace.train.losses.triplet_rules import BatchHardLoss
from subspace.train.networks.layer_memory import training_bytes
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.speed import StepSpeed
from subspace.train.training_config import LoaderConfig
from subspace.train.workers import PROCESS_BYTES

STATISTICS = sum(buffer.nbytes for buffer in build_backbone("small").buffers())
"""Bytes of batch norm's, once in each state."""


@pytest.mark.parametrize(
    ("chunk_size", "steps", "changes", "expected"),
    [
        (
            None,
            1000,
            0.0,
            "1,000 steps of about 16 images, about 5 minutes",
        ),  # 1000 · (16 · (10 + 2) + 100) ms = 292 s
        (8, 1000, 0.0, "about 6 minutes"),  # the forward pass once more: 16 · 10 · 4/3 ms, 345 s
        (None, 100, 0.0, "about 29 seconds"),
        (None, 1_000_000, 0.0, "about 3 days"),
        (8, 1000, 0.02, "about 11 minutes"),  # images are changed once: 16 · 20 ms more, 665 s
    ],
)
def test_seconds_are_those_of_the_steps(
    monkeypatch: pytest.MonkeyPatch, chunk_size: int | None, steps: int, changes: float, expected: str
) -> None:
    monkeypatch.setattr(training_estimate, "step_speed", lambda *_: StepSpeed(0.010, 0.100))
    monkeypatch.setattr(training_estimate, "decode_seconds", lambda *_: 0.002)
    monkeypatch.setattr(training_estimate, "change_seconds", lambda *_: changes)
    loader = LoaderConfig(num_workers=0, chunk_size=chunk_size)
    work = training_estimate.training_work(
        build_backbone("small"), nn.Identity, loader, OptimizerConfig(), AugmentConfig(), Options(Console(), "cpu"),
        steps=steps, P=8, images_per_batch=16, store=None, sample=np.arange(3), folder=Path(),  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    text = str(work.estimate())
    assert expected in text
    assert "9.4 MB of weights" in text  # 0.59 million numbers: weights, gradients, two of AdamW


def test_memory_grows_with_what_a_step_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of a batch, or of a chunk of it; loader processes; what the training has beside them."""
    monkeypatch.setattr(training_estimate, "step_speed", lambda *_: StepSpeed(0.010, 0.100))
    monkeypatch.setattr(training_estimate, "decode_seconds", lambda *_: 0.002)
    monkeypatch.setattr(training_estimate, "memory_with", lambda more: more)
    monkeypatch.setattr(training_estimate, "peak_memory", lambda: 0)

    def memory(beside: float = 0.0, **loader: int) -> float:
        return training_estimate.training_work(
            build_backbone("small"), nn.Identity, LoaderConfig(**loader), OptimizerConfig(), AugmentConfig(),  # pyright: ignore[reportArgumentType]
            Options(Console(), "cpu"), steps=1, P=8, images_per_batch=16, store=None, sample=np.arange(3), folder=Path(), beside=beside,  # pyright: ignore[reportArgumentType]
        ).memory  # fmt: skip

    small = build_backbone("small")
    whole, layers = memory(num_workers=0), 16 * training_bytes(small)
    saved = 16 * sum(weight.numel() for weight in small.parameters()) + STATISTICS
    assert whole == pytest.approx(layers + 16 * 3 * 32 * 32 + saved)
    assert memory(num_workers=0, chunk_size=4) == pytest.approx(whole - 0.75 * layers)
    assert memory(num_workers=2) > whole + 2 * PROCESS_BYTES
    assert memory(1e9, num_workers=0) == pytest.approx(whole + 1e9)


def test_disk_is_that_of_three_states_with_all_that_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running means of a million words took 512 MB of disk, where 45 MB were announced."""
    monkeypatch.setattr(training_estimate, "step_speed", lambda *_: StepSpeed(0.010, 0.100))
    monkeypatch.setattr(training_estimate, "decode_seconds", lambda *_: 0.002)
    work = training_estimate.training_work(
        build_backbone("small"), nn.Identity, LoaderConfig(num_workers=0), OptimizerConfig(), AugmentConfig(),
        Options(Console(), "cpu"), steps=1, P=8, images_per_batch=16, store=None, sample=np.arange(3), folder=Path(),  # pyright: ignore[reportArgumentType]
        saved_beside=512e6,
    )  # fmt: skip
    weights = sum(weight.numel() for weight in build_backbone("small").parameters())
    assert work.disk == 3 * (512e6 + 3 * 4 * weights + STATISTICS)
    assert "1.6 GB of disk" in str(work.estimate())


def test_states_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 steps with running means of 10,000,000 identities were announced at 67 s and took 383: 5 GB went to disk, and back."""
    monkeypatch.setattr(training_estimate, "step_speed", lambda *_: StepSpeed(0.010, 0.100))
    monkeypatch.setattr(training_estimate, "decode_seconds", lambda *_: 0.0)
    monkeypatch.setattr(training_estimate, "saving_seconds", lambda _folder, state: state / 50e6)
    work = training_estimate.training_work(
        build_backbone("small"), nn.Identity, LoaderConfig(num_workers=0, save_every=500), OptimizerConfig(),
        AugmentConfig(), Options(Console(), "cpu"), steps=1000, P=8, images_per_batch=16, store=None,  # pyright: ignore[reportArgumentType]
        sample=np.arange(3), folder=Path(), saved_beside=1e9,
    )  # fmt: skip
    weights = 4 * sum(weight.numel() for weight in build_backbone("small").parameters())
    assert work.saving == pytest.approx(
        5 * (1e9 + 3 * weights + STATISTICS) / 50e6
    )  # read; at 0, 500, 1000; and the end
    assert work.seconds == pytest.approx(1000 * (16 * 0.010 + 0.100) + work.saving)


def work_of(
    monkeypatch: pytest.MonkeyPatch, loss: Callable[[], nn.Module], **more: Any
) -> training_estimate.TrainingWork:
    """Of a training whose steps are not timed."""
    speed = more.pop("speed", lambda *_: StepSpeed(0.010, 0.100))
    monkeypatch.setattr(training_estimate, "step_speed", speed)
    monkeypatch.setattr(training_estimate, "decode_seconds", lambda *_: 0.0)
    monkeypatch.setattr(training_estimate, "memory_with", lambda more: more)
    monkeypatch.setattr(training_estimate, "peak_memory", lambda: 0)
    loader = LoaderConfig(num_workers=0, ema=more.pop("ema", None))
    return training_estimate.training_work(
        build_backbone("small", embedding_size=8), loss, loader, OptimizerConfig(), AugmentConfig(),
        Options(Console(), "cpu"), steps=1, P=8, images_per_batch=16, store=None, sample=np.arange(3),  # pyright: ignore[reportArgumentType]
        folder=Path(), **more,
    )  # fmt: skip


C, D = 1000, 8


def test_tables_in_buffers_are_saved_once_in_each_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """OIM's table, a memory of past batches and averaged weights were left out of memory and disk."""
    bare = work_of(monkeypatch, nn.Identity)
    oim = work_of(monkeypatch, lambda: OIMLoss(C, D, queue_size=500))
    assert oim.disk - bare.disk == 3 * (4 * (C + 500) * D + 2 * 8)
    assert oim.memory > bare.memory + 4 * (C + 500) * D
    xbm = work_of(monkeypatch, lambda: CrossBatchMemory(BatchHardLoss(), D, memory_size=600))
    assert xbm.disk - bare.disk == 3 * (600 * (4 * D + 8) + 2 * 8)
    ema = work_of(monkeypatch, nn.Identity, ema=0.9)
    averaged = sum(
        tensor.nbytes for tensor in build_backbone("small", embedding_size=8).state_dict().values()
    )
    assert ema.disk - bare.disk == 3 * averaged
    assert ema.memory == bare.memory + 2 * averaged


def test_several_processes_have_class_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds its share of them; process 0 saves all."""
    bare, one = work_of(monkeypatch, nn.Identity), work_of(monkeypatch, lambda: PartialFCLoss(C, D))
    monkeypatch.setattr(distributed, "count", lambda: 2)
    bare_of_two, two = work_of(monkeypatch, nn.Identity), work_of(monkeypatch, lambda: PartialFCLoss(C, D))
    assert one.weights - bare.weights == 4 * C * D
    assert two.weights - bare_of_two.weights == 4 * C * D // 2
    assert one.disk - bare.disk == two.disk - bare_of_two.disk == 3 * (3 * 4 * C * D + 8)
    assert two.memory - bare_of_two.memory >= (3 / 2 + 4) * 4 * C * D


def test_a_loss_is_timed_with_places_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels 0..P-1 are of as many subspaces as there are, and a batch of one: 30 times as long for subspace_softmax."""
    timed: list[list[int]] = []

    def places() -> np.ndarray:
        return np.array([3, 3, 7, 7])

    def speed(*given: Any) -> StepSpeed:
        timed.append(given[5].tolist())
        return StepSpeed(0.010, 0.100)

    for loss in (BatchHardLoss, lambda: SubspaceSoftmaxLoss(12, D, subspace_of=torch.arange(12) % 4)):
        work_of(monkeypatch, loss, speed=speed, places=places)
    assert timed == [list(range(8)) * 2, [3, 3, 7, 7]]

"""What a training is said to take follows from what a step is timed at, here made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stages import training_estimate
from subspace.train import build_backbone
from subspace.train.data.settings import AugmentConfig
from subspace.train.networks.layer_memory import training_bytes
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.speed import StepSpeed
from subspace.train.training_config import LoaderConfig
from subspace.train.workers import PROCESS_BYTES


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
    saved = 16 * sum(weight.numel() for weight in small.parameters())
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
    assert work.disk == 3 * (512e6 + 3 * 4 * weights)
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
    assert work.saving == pytest.approx(5 * (1e9 + 3 * weights) / 50e6)  # read; at 0, 500, 1000; and the end
    assert work.seconds == pytest.approx(1000 * (16 * 0.010 + 0.100) + work.saving)

"""Timings for estimates: what they count, and that other work on the machine does not stretch them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from subspace.mining import Manifest
from subspace.train import build_backbone, speed
from subspace.train.data.images import ImageStore
from subspace.train.data.settings import AugmentConfig
from subspace.train.devices import PLAIN
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.partial_fc import PartialFCLoss
from subspace.train.networks.backbone import Backbone, ImageInput
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Busy(nn.Module):
    """Works a given processor time for each image, and waits besides, as a network on a busy machine does."""

    def __init__(self, image: float, waits: float = 0.0, late: int = -1) -> None:
        super().__init__()
        self.image, self.waits, self.late = image, waits, late
        self.weight = nn.Parameter(torch.ones(3, 4))
        self.calls: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        seconds = self.image * len(images) * (20 if len(self.calls) == self.late else 1)
        self.calls.append(len(images))
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        time.sleep(self.waits)
        return images.mean((2, 3)) @ self.weight


def backbone(body: nn.Module) -> Backbone:
    return Backbone(body, spec="busy", input=ImageInput(8), embedding_size=4)


def test_waiting_for_the_processor_does_not_count() -> None:
    body = Busy(image=0.002, waits=0.03)
    found = speed.forward_seconds(backbone(body), CPU, PLAIN, 16)
    assert found == pytest.approx(0.002, rel=0.25)
    assert max(body.calls) == 16


def test_one_late_pass_does_not_set_the_time() -> None:
    for late in (0, 3, 6):
        found = speed.forward_seconds(backbone(Busy(image=0.005, late=late)), CPU, PLAIN, 4)
        assert found < 0.01


def test_a_slow_network_is_timed_with_few_images() -> None:
    body = Busy(image=0.6)
    began = time.thread_time()
    assert speed.forward_seconds(backbone(body), CPU, PLAIN, 256) == pytest.approx(0.6, rel=0.1)
    assert max(body.calls) == 1
    assert time.thread_time() - began < 2


def test_a_step_has_its_loss_and_its_update() -> None:
    class SlowLoss(nn.Module):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            until = time.thread_time() + 0.05
            while time.thread_time() < until:
                pass
            return (embeddings * labels[:, None]).sum()

    network = backbone(Busy(image=0.002))
    optimizer = build_optimizer([network], OptimizerConfig())
    labels = torch.arange(12) % 4
    found = speed.step_speed(network, SlowLoss(), optimizer, CPU, PLAIN, labels, 12)
    assert found.image == pytest.approx(0.002, rel=0.25)
    assert found.batch == pytest.approx(0.05, rel=0.25)
    assert speed.step_speed(network, None, optimizer, CPU, PLAIN, labels, 12).batch < 0.02


def test_a_timed_step_has_the_gradient_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse gradients piled up from step to step, and each update took longer than the one before."""
    network, loss = (
        build_backbone("small", embedding_size=4),
        PartialFCLoss(50, 4, share=0.1, sparse_gradient=True),
    )
    optimizer = build_optimizer([network, loss], OptimizerConfig())
    labels, rows, moved = torch.arange(8) % 4, [], []
    step = optimizer.step

    def watched() -> None:
        assert loss.head.weight.grad is not None
        rows.append(loss.head.weight.grad._nnz())
        moved.append(any(weight.grad is not None for weight in network.parameters()))
        step()

    monkeypatch.setattr(optimizer, "step", watched)
    speed.step_speed(network, loss, optimizer, CPU, PLAIN, labels, 8)
    assert len(rows) > 2
    assert set(rows) == {4 + 5}  # those of the batch, and a tenth of the other 46
    assert all(moved)


def test_timing_leaves_generators_and_threads_as_they_are() -> None:
    network, threads = build_backbone("small"), torch.get_num_threads()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    optimizer = build_optimizer([network], OptimizerConfig())
    speed.step_speed(network, BatchOHNMLoss(), optimizer, CPU, PLAIN, torch.arange(8) % 4, 8)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_decoding_is_timed_over_readable_images(small_manifest: Path) -> None:
    store = ImageStore(Manifest.open(small_manifest))
    assert 1e-6 < speed.decode_seconds(store, np.arange(100), 32) < 0.05
    assert speed.decode_seconds(store, np.empty(0, np.int64), 32) == 0


@pytest.mark.parametrize(("compute", "decode", "workers", "seconds"), [
    (3.0, 1.0, 0, 4.0),  # in turns
    (3.0, 1.0, 1, 3.0),  # behind the network
    (1.0, 9.0, 3, 3.0),  # decoding is the slower
    (3.0, 4.0, 4, 5.0),  # 6 core-seconds of the network and 4 of decoding on two cores
])  # fmt: skip
def test_decoding_ahead(
    compute: float, decode: float, workers: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1} if workers == 4 else set(range(64)))
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    started = speed.START_SECONDS if workers else 0
    assert speed.LoadedWork(compute, decode, workers, CPU).seconds == pytest.approx(seconds + started)


def test_a_gpu_that_waits_for_images_is_said() -> None:
    gpu = torch.device("cuda")
    words = speed.LoadedWork(compute=10, decode=95, num_workers=8, device=gpu).slow_decoding
    assert (
        words
        == " (images are decoded more slowly than cuda works: that wants 10 loader processes, on as many cores)"
    )
    assert speed.LoadedWork(compute=10, decode=80, num_workers=8, device=gpu).slow_decoding == ""
    assert speed.LoadedWork(compute=10, decode=95, num_workers=1, device=CPU).slow_decoding == ""


def test_changes_of_images_are_timed_where_there_are_any() -> None:
    assert speed.change_seconds(AugmentConfig(flip=0.5, shift=2), ImageInput(32), CPU, 16) == 0
    few, many = (
        speed.change_seconds(config, ImageInput(32), CPU, 64)
        for config in (AugmentConfig(brightness=0.4), AugmentConfig(brightness=0.4, crop=(0.5, 1), blur=1))
    )
    assert 0 < few < many < 0.01

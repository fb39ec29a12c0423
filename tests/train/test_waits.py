"""Between two lines of the log a training step waits for nothing: no value is read off the device, nothing copied back.

The losses of this package look whether embeddings are finite, which they answer for; so the loss here is a plain one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from waits import CountedWaits

from subspace.train.collapse import CollapseGuard
from subspace.train.data.batches import ImageBatch
from subspace.train.loop import train_steps
from subspace.train.losses.building import TrainingSet, build_loss
from subspace.train.losses.loss import TripletLoss, TripletStatistics
from subspace.train.monitoring.metrics_log import MetricsLog
from subspace.train.monitoring.phase_clock import Phases
from subspace.train.networks.backbone import Backbone, ImageInput
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.running_means import RunningMeans
from subspace.train.training_config import CollapseConfig, LoaderConfig
from subspace.train.training_state import TrainingState

CPU = torch.device("cpu")
CONFIG = OptimizerConfig(name="sgd", lr=0.01, schedule="constant", warmup_steps=0, clip_norm=1.0)
"""AdamW, and averaged weights, count steps on the CPU, whatever the device, and read them there."""
LINE = 5
"""Steps of a line."""


def random_batch(step: int) -> ImageBatch:
    images = torch.randint(0, 256, (12, 3, 8, 8), generator=torch.Generator().manual_seed(step))
    return ImageBatch(step, np.arange(12), images.to(torch.uint8), [])


class Pull(TripletLoss):
    """Mean distance to the batch's first image."""

    margin = 0.3

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        value = (embeddings - embeddings[:1]).square().sum(1).mean()
        self.statistics = TripletStatistics(*[value.detach()] * 3)
        return value


class Deaf:
    """A tracker."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None: ...
    def histogram(self, step: int, name: str, values: np.ndarray) -> None: ...
    def image(self, step: int, name: str, pixels: np.ndarray) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("engine", [{}, {"chunk_size": 6}, {"precision": "bf16-mixed", "accumulate": 2}])
def test_a_step_reads_nothing_off_its_device(tmp_path: Path, engine: dict[str, Any]) -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Dropout(0.1))
    network, loss = Backbone(body, spec="tiny", input=ImageInput(8), embedding_size=8), Pull()
    state = TrainingState(
        network,
        loss,
        build_optimizer([network, loss], CONFIG),
        running=RunningMeans(torch.zeros(4, 8)),
    )
    phases, guard = Phases(CPU), CollapseGuard(loss, CollapseConfig(window=2 * LINE))
    log = MetricsLog(tmp_path, 0, Deaf(), phases, pictures_every=0)
    steps = train_steps(
        state, map(random_batch, range(2 * LINE)), lambda step, image_id: image_id // 3, CONFIG, LoaderConfig.model_validate(engine),
        first_step=0, total_steps=20, device=CPU, seed=0, phases=phases,
    )  # fmt: skip
    seen = []
    for number in range(2 * LINE):
        with CountedWaits() as waits:
            record = next(steps)
            guard.add(record.step + 1, record.loss, record.distance)
            log.add(record)
        seen += waits.seen
        if number == LINE - 1:
            assert seen == []
            with CountedWaits() as waits:
                log.write()
            assert waits.seen == ["tolist"]
    assert seen == ["tolist", "tolist"]  # the guard's window ends: losses and distances
    log.close()


@pytest.mark.parametrize("expression", ["arcface", "curricularface", "partial_fc", "subspace_softmax", "oim"])
def test_a_class_loss_reads_nothing_off_its_device(expression: str) -> None:
    """The device has shapes alone, so that reading a value, counting what is true or copying back is an error."""
    classes = TrainingSet.from_means(torch.eye(12, 8), torch.arange(12) % 4, seed=0)
    loss, labels = build_loss(expression, {}, classes), torch.tensor([3, 3, 0, 3, 8, 0])
    loss(torch.eye(6, 8), labels)  # counters are read once
    loss = loss.to("meta")
    for _ in range(2):
        embeddings = torch.ones(6, 8, device="meta", requires_grad=True)
        loss.forward(embeddings, labels).backward()  # autocast knows no such device
        assert embeddings.grad is not None


def test_waits_are_seen() -> None:
    some = torch.tensor([1.0, 2.0])
    ways = {
        "aten::_local_scalar_dense": lambda: some[0].item(),
        "aten::nonzero": lambda: some.nonzero(),
        "aten::index": lambda: some[some > 1],
        "cpu": lambda: some.cpu(),
        "tolist": lambda: some.tolist(),
        "aten::_unique2": lambda: some.unique(),
    }
    for name, way in ways.items():
        with CountedWaits() as waits:
            way()
        assert name in waits.seen, name
    with CountedWaits() as waits:
        some.mul(2).sum()
    assert waits.seen == []

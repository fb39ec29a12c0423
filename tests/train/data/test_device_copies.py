"""Batches on their way to a GPU: in order, one ahead, and as they are on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from subspace.train.data import device_copies as module
from subspace.train.data.batches import ImageBatch
from subspace.train.data.device_copies import copied_ahead

CPU = torch.device("cpu")


def batches(asked: list[int]) -> Iterator[ImageBatch]:
    for step in range(4):
        asked.append(step)
        yield ImageBatch(step, np.array([step]), torch.full((1, 3, 2, 2), step, dtype=torch.uint8), [])


def test_on_a_cpu_nothing_is_asked_for_ahead() -> None:
    asked: list[int] = []
    for batch in copied_ahead(batches(asked), CPU):
        assert asked[-1] == batch.step
    assert asked == [0, 1, 2, 3]


class Pretended:
    """A stream and an event of CUDA, which do nothing here."""

    def __init__(self, *_: Any) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: Any) -> None: ...
    def record(self, *_: Any) -> None: ...
    def wait_event(self, *_: Any) -> None: ...


def test_for_a_gpu_one_batch_is_sent_off_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Stream", "Event", "stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Pretended)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    asked: list[int] = []
    for step, batch in enumerate(module._sent_off(batches(asked), CPU)):
        assert (batch.step, batch.images.unique().tolist()) == (step, [step])
        assert asked[-1] == min(step + 1, 3)
    assert step == 3

"""How fast a network is said to be."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from subspace.train import build_backbone
from subspace.train.embedder import forward_rate


def test_one_late_pass_does_not_set_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the first of them waits for cores, and an estimate must not multiply that."""
    network = build_backbone("small")
    forward, calls = network.body.forward, []

    def late(images: Tensor) -> Tensor:
        calls.append(len(images))
        time.sleep(0.3 if len(calls) == 2 else 0)  # the first timed one
        return forward(images)

    assert isinstance(network.body, nn.Module)
    monkeypatch.setattr(network.body, "forward", late)
    rate = forward_rate(network, torch.device("cpu"), "fp32")
    assert len(calls) > 2
    assert rate > 2 / 0.3

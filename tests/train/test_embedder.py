"""How fast a network is said to be, and what is said of a precision that makes it slow.

Covers train/devices.py as well.
"""

from __future__ import annotations

import time
import warnings

import pytest
import torch
from torch import Tensor, nn

from subspace.mining.errors import SubspaceWarning
from subspace.train import build_backbone
from subspace.train.devices import autocast, warn_of_emulated_bf16
from subspace.train.embedder import forward_rate
from subspace.train.training_config import Precision


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


@pytest.mark.parametrize(("has_bf16", "precision", "warned"), [
    (False, "bf16-mixed", True), (True, "bf16-mixed", False), (False, "32-true", False),
])  # fmt: skip
def test_bf16_that_a_cpu_has_to_emulate_is_warned_of(
    has_bf16: bool, precision: Precision, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subspace.train.devices.cpu_has_bf16", lambda: has_bf16)
    warn_of_emulated_bf16.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            autocast(torch.device("cpu"), precision)
    assert [warning.category for warning in caught] == [SubspaceWarning] * warned

"""What is said of a precision that makes a device slow."""

from __future__ import annotations

import warnings

import pytest
import torch

from subspace.mining.errors import SubspaceWarning
from subspace.train.devices import autocast, warn_of_emulated_bf16
from subspace.train.training_config import Precision


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

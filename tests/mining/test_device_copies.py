"""Tensors on their way to a GPU go through pinned memory, and wait for nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from subspace.mining.device_copies import to_device


def test_a_gpu_copies_from_pinned_memory_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: calls.append("pinned") or tensor)
    monkeypatch.setattr(Tensor, "to", lambda tensor, *where, **how: calls.append((where, how)) or tensor)
    to_device(torch.arange(3), torch.device("cuda"))
    assert calls == ["pinned", ((torch.device("cuda"),), {"non_blocking": True})]

"""What loading torch takes."""

from __future__ import annotations

import sys

import pytest

from subspace.pipeline.estimates.imports import torch_seconds


def test_what_is_loaded_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert torch_seconds() == 0
    monkeypatch.delitem(sys.modules, "torch")
    assert 0 < torch_seconds() < 120

"""torchmetrics without torchvision, which needs a build for the very torch that is installed, and of which no metric here is made."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from unittest.mock import MagicMock

import pytest


def torchmetrics_alone(monkeypatch: pytest.MonkeyPatch, module: str) -> ModuleType:
    """A module of `torchmetrics.functional`; the test is skipped where it is not installed."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, MagicMock(__spec__=ModuleSpec(name, None), __path__=[]))
    return pytest.importorskip(f"torchmetrics.functional.{module}")

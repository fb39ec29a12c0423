"""The product and the k-means, made small; a device with wrong numbers is broken."""

from __future__ import annotations

import pytest
import torch

from subspace.pipeline.doctor import speeds
from subspace.pipeline.doctor.speeds import Sizes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(speeds.SIZES, "cpu", Sizes(96, 600, 16, 6))


def test_the_speed_of_a_product() -> None:
    found = speeds.product("cpu", seconds=0.01)
    assert not found.broken
    assert "GFLOP/s in float32" in found.value
    assert found.facts["flops"] > 1e6


def test_a_product_that_is_wrong_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.Tensor.__matmul__

    def wrong(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return right(a, b) + (0.1 if a.dtype == torch.float32 else 0)

    monkeypatch.setattr(torch.Tensor, "__matmul__", wrong)
    found = speeds.product("cpu", seconds=0.01)
    assert found.broken
    assert found.value == "off by 0.1"


def test_every_device_is_run() -> None:
    names = [finding.name for finding in speeds.speeds_of(["cpu"], 0)]
    assert names == ["product", "k-means"]
    assert speeds.clustering("cpu", 0).facts.keys() == {"faiss_seconds", "subspace_seconds"}


def test_large_rates_are_in_larger_units() -> None:
    assert speeds._flops(5.2e10) == "52 GFLOP/s"
    assert speeds._flops(6.7e14) == "670 TFLOP/s"

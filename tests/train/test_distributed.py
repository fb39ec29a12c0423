"""Several processes train as one: the same gradients, curves, statistics and shards.

Covers train/batch_norm.py as well.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from several_processes import run_in
from shared_training import FIRST_SHARE, WithoutBatchNorm, curves_of, gradients_of
from torch import Tensor

from subspace.mining.errors import StoppedEarly
from subspace.train import distributed
from subspace.train.losses import LOSSES

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in LOSSES if name not in ("xbm", "offline")},
    "batch_ohnm": ("batch_ohnm", {"batch_ohnm": {"margin": 1.0}}),
    "of others": (
        "pml:ArcFaceLoss + pml:TripletMarginLoss",
        {"pml:TripletMarginLoss": {"triplets_per_anchor": 2}, "pml:ArcFaceLoss": {"scale": 16}},
    ),
    "xbm:batch_ohnm": (
        "xbm:batch_ohnm",
        {"batch_ohnm": {"margin": 1.0}, "xbm": {"memory_size": 50, "warmup_steps": 0}},
    ),
    "partial_fc arcface": ("partial_fc", {"partial_fc": {"kind": "arcface", "share": 0.3, "scale": 16}}),
    "partial_fc cosface": ("partial_fc", {"partial_fc": {"kind": "cosface", "share": 0.3, "scale": 16}}),
    "partial_fc softmax": ("partial_fc", {"partial_fc": {"kind": "softmax", "share": 1.0, "scale": 16}}),
    # Their own factor of 256 multiplies the rounding of float32.
    "circle": ("circle", {"circle": {"gamma": 64}}),
    "circle_pair": ("circle_pair", {"circle_pair": {"gamma": 64}}),
    "sum": ("batch_ohnm + 0.5*partial_fc + 0.1*oim", {"batch_ohnm": {"margin": 1.0}}),
}


ROUNDING = 1e-5
"""Share of a gradient; sums of float32 in another order differ by up to 3e-6, steep losses by the most."""


def assert_close(
    found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float, what: str = ""
) -> None:
    """All numbers as one vector within `tolerance` of its length, and no tensor far off on its own."""
    assert found.keys() == expected.keys()
    off, length = (
        {name: float(tensor.double().norm()) for name, tensor in tensors.items()}
        for tensors in ({name: found[name] - expected[name] for name in expected}, expected)
    )
    whole = math.hypot(*length.values())
    assert math.hypot(*off.values()) <= tolerance * max(1.0, whole), what
    for name, distance in off.items():
        assert distance <= 20 * tolerance * max(1.0, length[name], 0.05 * whole), f"{what} {name}: {distance}"


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_gradients_are_those_of_one_process(tmp_path: Path, count: int) -> None:
    alone = gradients_of(CASES)
    found = run_in(count, tmp_path, gradients_of, CASES)[0]
    for case, expected in alone.items():
        assert_close(found[case], expected, ROUNDING, case)


@pytest.mark.parametrize(
    "settings",
    [
        {"unreadable": FIRST_SHARE},
        pytest.param({"engine": {"precision": "bf16-mixed"}}, marks=pytest.mark.slow),
        pytest.param({"body": WithoutBatchNorm}, marks=pytest.mark.slow),
    ],
)
def test_gradients_are_equal_with(tmp_path: Path, settings: dict[str, Any]) -> None:
    cases = {name: CASES[name] for name in ("batch_ohnm", "softmax", "partial_fc arcface")}
    tolerance = 2e-2 if "engine" in settings else ROUNDING  # bf16 has 8 bits
    found = run_in(4, tmp_path, gradients_of, cases, settings)[0]
    for case, expected in gradients_of(cases, settings).items():
        assert_close(found[case], expected, tolerance, case)


REMEMBERING = {
    name: CASES[name] for name in ("xbm:batch_ohnm", "oim", "partial_fc arcface", "curricularface")
}


@pytest.mark.slow
def test_training_curves_are_those_of_one_process(tmp_path: Path) -> None:
    settings = {"optimizer": {"name": "sgd", "lr": 0.02}}
    alone = curves_of(REMEMBERING, 50, settings)
    for count in (2, 4):
        found = run_in(count, tmp_path / str(count), curves_of, REMEMBERING, 50, settings)
        for case, expected in alone.items():
            assert len(expected) == 50
            assert expected[-1] < expected[0]
            for curves in found:
                np.testing.assert_allclose(curves[case], expected, rtol=1e-3, atol=1e-4, err_msg=case)


@pytest.mark.parametrize(
    "message",
    [
        "[gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:4711",
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:269] writev [127.0.0.1]:4711: Broken pipe",
    ],
)
def test_a_lost_process_is_no_bug(message: str) -> None:
    with pytest.raises(StoppedEarly, match="lost contact"), distributed.losses_of_contact():
        raise RuntimeError(message)

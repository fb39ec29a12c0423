"""What a short training came to: what its network did is a result, and what its images did is an error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from subspace.mining.errors import InputError
from subspace.mining.evaluation.mated_probes import unit_rows
from subspace.pipeline.learning_rate import trial_training
from subspace.pipeline.learning_rate.trial_training import Ended, examine_trained
from subspace.train import build_backbone


@pytest.fixture
def training() -> Any:
    """A training that is done."""
    return SimpleNamespace(network=build_backbone("small"), state=SimpleNamespace(ema=None))


@pytest.mark.parametrize("rows", [np.full((2, 3), np.nan), np.zeros((2, 3))])
def test_a_network_without_unit_vectors_diverged(
    training: Any, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_training, "examine_on_validation", lambda *_: unit_rows("probe", rows))
    ended = Ended("done", 2, 4, [])
    assert examine_trained(None, training, ended) == {}  # pyright: ignore[reportArgumentType]
    assert ended.state == "diverged"


def test_an_image_that_cannot_be_read_is_said(training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for a loss that diverged, and kept as that."""

    def unreadable(*_: object) -> None:
        raise InputError("image 72 cannot be read: not an image of a known format")

    monkeypatch.setattr(trial_training, "examine_on_validation", unreadable)
    with pytest.raises(InputError, match="image 72 cannot be read"):
        examine_trained(None, training, Ended("done", 2, 4, []))  # pyright: ignore[reportArgumentType]
    assert examine_trained(None, training, Ended("collapsed", 2, 4, [])) == {}  # pyright: ignore[reportArgumentType]

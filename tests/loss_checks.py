"""What the tests of several losses share: a network to train, and what holds of losses over pairs and triplets alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from subspace.mining.errors import InputError


def network(seed: int) -> nn.Linear:
    linear = nn.Linear(6, 6, bias=False)
    with torch.no_grad():
        linear.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return linear


def assert_length_is_ignored_and_nan_told(
    build: Callable[[], nn.Module], embeddings: Tensor, labels: Tensor
) -> None:
    """Of a new loss each time; embeddings: float64[B, D]."""
    embeddings = embeddings.detach()
    lengths = torch.linspace(0.1, 100, len(embeddings)).double()[:, None]
    torch.testing.assert_close(build()(embeddings, labels), build()(embeddings * lengths, labels))
    embeddings[3, 1] = math.nan
    with pytest.raises(InputError, match="hold NaN"):
        build()(embeddings, labels)

"""A network of a fixed stride takes multiples of it and names the nearest of anything else."""

from __future__ import annotations

import pytest

from subspace.mining.errors import InputError
from subspace.train.networks.sizes import multiples_of


def test_multiples_pass_and_others_are_refused_with_the_nearest() -> None:
    assert multiples_of(16, 112, "n") == (112, 112)
    assert multiples_of(16, (64, 32), "n") == (64, 32)
    with pytest.raises(InputError, match=r"\[16, 48\] is the nearest"):
        multiples_of(16, (3, 50), "n")

"""What metrics are said to take is no less than what they take, and not much more."""

from __future__ import annotations

import tracemalloc

import numpy as np
from made_up_embeddings import unit

from subspace.mining.evaluation.mated_probes import MatedProbes
from subspace.mining.evaluation.memory import kept_pairs, metric_bytes, verification_bytes
from subspace.mining.evaluation.verification import tar_at_far


def test_verification_stays_within_what_is_announced() -> None:
    rng = np.random.default_rng(0)
    rows = unit(rng.standard_normal((2500, 8)))
    mated = MatedProbes.match(rows, range(2500), rows, range(2500))
    tracemalloc.start()
    tar_at_far(mated, [1e-3], bootstrap=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    announced = metric_bytes(["TAR@FAR=1e-3"], 2500, 2500, 0, 8)
    assert peak <= announced <= 3 * peak


def test_it_grows_with_the_logarithm_of_the_pairs() -> None:
    assert kept_pairs(1000) == 1000
    assert verification_bytes(10**12) < 2 * verification_bytes(10**8)

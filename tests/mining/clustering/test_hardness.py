"""The hardness of batches, against slow loops; no FAISS is needed for it."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.clustering.hardness import batch_hardness, random_batches


@given(batches=st.integers(1, 4), p=st.integers(2, 6), seed=st.integers(0, 99))
def test_hardness_is_the_mean_cosine_to_the_nearest_of_the_batch(batches: int, p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((12, 8)).astype(np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    plan = np.stack([rng.permutation(12)[:p] for _ in range(batches)])
    nearest = [max(float(means[i] @ means[j]) for j in batch if j != i) for batch in plan for i in batch]
    assert batch_hardness(means, plan) == pytest.approx(np.mean(nearest), abs=1e-6)


def test_random_batches_hold_distinct_identities_and_repeat_themselves() -> None:
    batches = random_batches(20, 5, 8)
    assert batches.shape == (5, 8)
    assert all(len(set(batch.tolist())) == 8 for batch in batches)
    assert len({tuple(batch) for batch in batches.tolist()}) == 5
    assert np.array_equal(batches, random_batches(20, 5, 8))


def test_random_batches_take_no_room_for_those_that_are_not_drawn() -> None:
    """64 orders of 10,000,000 identities were 5 GB."""
    tracemalloc.start()
    try:
        random_batches(200_000, 16, 96)
        assert tracemalloc.get_traced_memory()[1] < 16 * 200_000
    finally:
        tracemalloc.stop()


def test_it_imports_no_faiss() -> None:
    script = (
        "import sys; import subspace.mining.clustering.hardness\n"
        "sys.exit('imported faiss' if 'faiss' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

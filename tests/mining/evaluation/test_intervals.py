"""A metric between the percentiles of its replicates."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.evaluation.intervals import percentile_interval


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_five_percent_of_the_replicates_lie_outside_at_most(replicates: list[float]) -> None:
    metric = percentile_interval("m", 0.5, np.array(replicates))
    below = sum(replicate < metric.low for replicate in replicates)
    above = sum(replicate > metric.high for replicate in replicates)
    assert max(below, above) <= 0.025 * len(replicates) + 1
    assert min(replicates) <= metric.low <= metric.high <= max(replicates)
    assert (metric.name, metric.value) == ("m", 0.5)

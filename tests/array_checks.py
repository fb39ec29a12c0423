"""What several tests of mining ask of arrays."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2


def assert_same(a: object, b: object) -> None:
    """Two records whose fields are arrays."""
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def assert_plausible(counts: np.ndarray) -> None:
    """Chi-square against equal shares: a fair draw fails one time in 100,000."""
    expected = counts.sum() / len(counts)
    assert expected > 20
    assert float(((counts - expected) ** 2 / expected).sum()) < chi2.ppf(1 - 1e-5, len(counts) - 1)

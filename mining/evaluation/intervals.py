"""One metric's result: its value between the bounds of a 95 % bootstrap interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..randomness import generator


@dataclass(frozen=True)
class Metric:
    """A metric with its 95 % bootstrap interval, each a share; None where there are too few pairs to say.

    >>> Metric("Rank-1", 0.5, 0.4, 0.6).to_json()
    {'value': 0.5, 'low': 0.4, 'high': 0.6}
    """

    name: str
    """As `eval.metrics` has it, such as `TAR@FAR=1e-3`."""
    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, Any]:
        """Everything but the name, ready for `json.dumps`; the reason for no value only where there is one."""
        return {
            key: value
            for key, value in vars(self).items()
            if key != "name" and (key != "reason" or value is not None)
        }


def percentile_interval(name: str, value: float, replicates: np.ndarray) -> Metric:
    """`value` between the 2.5 and 97.5 percentiles of its bootstrap replicates, float[R].

    >>> percentile_interval("Rank-1", 0.5, np.linspace(0.4, 0.6, 201))
    Metric(name='Rank-1', value=0.5, low=0.405, high=0.595)
    """
    low, high = np.percentile(replicates, (2.5, 97.5))
    return Metric(name, value, float(low), float(high))


def identity_draws(identities: int, bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """int64[identities] per replicate: how often each identity is drawn in as many draws with replacement.

    >>> [int(weight_I.sum()) for weight_I in identity_draws(5, 2, 0)]
    [5, 5]
    """
    if bootstrap < 1:
        raise InputError(f"bootstrap is {bootstrap}; give the number of replicates, such as 200")
    random = generator(seed, "identity bootstrap")
    return (
        np.bincount(random.integers(identities, size=identities), minlength=identities)
        for _ in range(bootstrap)
    )

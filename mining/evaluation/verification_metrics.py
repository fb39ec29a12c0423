"""What verification measures: TAR@FAR and EER with their thresholds, from a curve and its replicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .intervals import Metric, percentile_interval
from .roc import Roc


@dataclass(frozen=True)
class TarAtFar(Metric):
    """The share of genuine pairs accepted where impostors are accepted at most at the rate `far`.

    >>> TarAtFar("TAR@FAR=1e-3", 0.9, 0.8, 0.95, far=1e-3, threshold=0.7).to_json()
    {'value': 0.9, 'low': 0.8, 'high': 0.95, 'far': 0.001, 'threshold': 0.7}
    """

    far: float
    threshold: float | None
    """Cosine; accept what is strictly above."""
    reason: str | None = None
    """Why there is no value, where there is none."""


@dataclass(frozen=True)
class EqualErrorRate(Metric):
    """The rate at which impostors are accepted and genuine pairs refused alike; less is better.

    >>> EqualErrorRate("EER", 0.02, 0.01, 0.03, threshold=0.4).to_json()
    {'value': 0.02, 'low': 0.01, 'high': 0.03, 'threshold': 0.4}
    """

    threshold: float | None
    """Cosine; accept what is strictly above."""
    reason: str | None = None
    """Why there is no value, where there is none."""


class Verification(NamedTuple):
    """Verification measured in one pass.

    >>> unknown = no_impostors(["TAR@FAR=1e-3"], [1e-3])
    >>> [(metric.name, metric.value) for metric in unknown.metrics]
    [('TAR@FAR=1e-3', None), ('EER', None)]
    """

    roc: Roc | None
    """None where there are no impostor pairs."""
    tars: tuple[TarAtFar, ...]
    """In the order of the FARs asked for."""
    eer: EqualErrorRate

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All of them."""
        return (*self.tars, self.eer)


def measured(
    roc: Roc, names: Sequence[str], fars: Sequence[float], replicates: Iterator[Roc]
) -> Verification:
    """The metrics of a curve; intervals from those of its replicates, each of which looks for its own thresholds.

    >>> roc = Roc.of([0.9, 0.8], [0.1, 0.2])
    >>> measured(roc, ["TAR@FAR=5e-1"], [0.5], iter([roc])).tars[0].value
    1.0
    """
    drawn = []
    for replicate in replicates:
        edges = np.array([replicate.edge_at_far(far) for far in fars])
        tars = replicate.genuine.above(edges) / max(replicate.genuine.total, 1)
        drawn.append((*tars, replicate.equal_error_rate))
    *tars_R, eer_R = np.array(drawn).T
    tars = []
    for name, far, tar_R in zip(names, fars, tars_R, strict=True):
        value, reason = roc.tar_at_far(far), roc.why_unknown(far)
        if value is None:
            tars.append(TarAtFar(name, None, None, None, far, None, reason))
            continue
        tar = percentile_interval(name, value, tar_R)
        tars.append(TarAtFar(name, value, tar.low, tar.high, far, roc.threshold_at_far(far)))
    eer = percentile_interval("EER", roc.equal_error_rate, eer_R)
    return Verification(
        roc, tuple(tars), EqualErrorRate("EER", eer.value, eer.low, eer.high, roc.equal_error_threshold)
    )


def no_impostors(names: Sequence[str], fars: Sequence[float]) -> Verification:
    """The same where there is nobody to be taken for: no values.

    >>> no_impostors(["TAR@FAR=1e-3"], [1e-3]).eer.reason
    'there are no impostor pairs; bring two identities or more'
    """
    reason = "there are no impostor pairs; bring two identities or more"
    tars = (
        TarAtFar(name, None, None, None, far, None, reason) for name, far in zip(names, fars, strict=True)
    )
    return Verification(None, tuple(tars), EqualErrorRate("EER", None, None, None, None, reason))

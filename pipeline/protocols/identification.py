"""Identification: whom does a probe show? One gallery image of each identity, and images of others beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.evaluation.registry import compute_metrics
from ...mining.randomness import derived_seed
from ..console import counted
from .evaluated_images import EvaluatedImages
from .outcome import Curve, Outcome
from .planned import Planned, cost_in_words
from .registry import PROTOCOLS
from .request import ProtocolRequest
from .sides import held_out, rule_of_groups

RANKS = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100)
"""Ranks of the CMC curve."""
PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
"""Precisions of the curve of coverage."""


def identify(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """Gallery, probes and distractors as `subspace eval` chooses them."""
    held, manifest = held_out(images), images.manifest
    chosen = held.choose(manifest)
    names = request.metrics or PROTOCOLS["identification"].metrics
    sides = [chosen.gallery, chosen.probe, chosen.distractor]
    asked = np.concatenate(sides)
    words, seconds = images.announce(asked)
    settings = held.settings

    def work() -> Outcome:
        found = images.embeddings(asked)
        return _outcome(found.rows, found.readable)

    def _outcome(rows: np.ndarray, readable: np.ndarray) -> Outcome:
        ends = np.cumsum([len(side) for side in sides])[:2]
        gallery, probe, others = np.split(rows, ends)
        gallery_id, probe_id, _ = (manifest.identity_id[side] for side in sides)
        evaluation = compute_metrics(
            names, gallery, gallery_id, probe, probe_id, distractors=others,
            bootstrap=settings.bootstrap, seed=derived_seed(images.config.seed, "eval bootstrap"),
        ).to_json()  # fmt: skip
        metrics = evaluation.pop("metrics")
        return Outcome(metrics, evaluation, "")

    return Planned(f"{words}; {cost_in_words(seconds, 0)}", work, {"metrics": list(names)})

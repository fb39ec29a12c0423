"""Which identities can give a batch two images, and in how many batches one does, against slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from subspace.mining.manifest import IdentityImages
from subspace.mining.planning.batch_plan import plan_batches
from subspace.mining.planning.positive_pairs import PairedBatches, with_pairs
from subspace.mining.planning.settings import PlanConfig

FEW_WITH_TWO = np.where(np.arange(60) % 20 == 0, 2, 1)


@pytest.mark.parametrize(
    ("settings", "two"),
    [({"K": 1}, 0), ({"K": 2}, 3), ({"K": 2, "max_images": 1}, 0), ({"K": 2, "singletons": "augment"}, 60)],
)
def test_identities_with_a_pair(settings: dict[str, object], two: int) -> None:
    assert with_pairs(FEW_WITH_TWO, PlanConfig.model_validate(settings)).sum() == two


def test_batches_with_a_pair_are_those_that_hold_two_images_of_one_identity() -> None:
    offset = np.append(0, np.cumsum(FEW_WITH_TWO))
    images = IdentityImages(np.arange(60), offset, np.arange(offset[-1]))
    config = PlanConfig(steps=50, P=6, K=2, strategy="subspace")
    counted = PairedBatches(with_pairs(images.count, config))
    batches = []
    for block in counted.over(plan_batches(images, np.zeros(60, np.int32), config)):
        batches += block.image_id.reshape(len(block), config.P, config.K).tolist()
    slow = sum(any(len(set(of_one)) > 1 for of_one in batch) for batch in batches)
    assert 0 < slow < 50
    assert (counted.paired, counted.batches) == (slow, 50)

"""Strategies are points of one family; contradictions are told in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from subspace.mining.plan_config import PlanConfig, draw_of


@pytest.mark.parametrize(
    ("strategy", "given", "expected"),
    [
        ("custom", {}, (1, 0)),
        ("custom", {"group_size": 3, "random_fraction": 0.5}, (3, 0.5)),
        ("random", {}, (1, 1)),
        ("random", {"group_size": 1, "random_fraction": 1}, (1, 1)),
        ("subspace", {}, (1, 0)),
        ("subspace", {"random_fraction": 0.25}, (1, 0.25)),
        ("doppelganger", {}, (4, 0)),
        ("doppelganger", {"group_size": 8, "random_fraction": 0.25}, (8, 0.25)),
        ("graph", {}, (48, 0)),
        ("graph", {"group_size": 48}, (48, 0)),
    ],
)
def test_strategies(strategy: Any, given: dict[str, Any], expected: tuple[int, float]) -> None:
    assert draw_of(strategy, 48, **given) == expected
    config = PlanConfig(P=48, strategy=strategy, **given)
    assert config.draw == expected
    assert PlanConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "random", "group_size": 4}, "plan.group_size=4 contradicts plan.strategy=random"),
        ({"strategy": "random", "random_fraction": 0.5}, "plan.random_fraction=0.5 contradicts"),
        ({"strategy": "subspace", "group_size": 2}, "which has 1; set plan.group_size=null"),
        ({"strategy": "subspace", "random_fraction": 1}, "which has less than 1"),
        ({"strategy": "doppelganger", "group_size": 1}, "which has 2 to 8"),
        ({"strategy": "doppelganger", "group_size": 9}, "which has 2 to 8"),
        ({"strategy": "graph", "group_size": 4}, "plan.group_size=4 contradicts plan.strategy=graph"),
        ({"strategy": "graph", "random_fraction": 0.25}, "which has 0"),
        ({"strategy": "doppelganger", "P": 3}, "plan.group_size=4 does not fit"),
        ({"strategy": "nearest"}, "strategy"),
        ({"locality_window": 8}, "plan.locality_window=8 needs plan.order=sequential, not interleaved"),
        ({"locality_window": 0, "order": "sequential"}, "locality_window"),
        ({"max_images": 0}, "max_images"),
        ({"max_appearances": 3, "strategy": "doppelganger"}, "shows every identity 4.0 times on average"),
    ],
)
def test_contradictions_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as error:
        PlanConfig(**given)
    assert "\n" not in error.value.errors()[0]["msg"]

"""Strategies are points of one family; contradictions are told in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from subspace.mining.planning.settings import PlanConfig, draw_of


@pytest.mark.parametrize(
    ("strategy", "given", "expected"),
    [
        ("mixed", {}, (8, 0.75)),
        ("mixed", {"group_size": 4}, (4, 0.75)),
        ("mixed", {"random_fraction": 0.9}, (5, 0.9)),
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


def test_a_mixed_batch_has_smaller_groups_where_eight_do_not_fit() -> None:
    assert PlanConfig().draw == (8, 0.75)
    assert [(p, PlanConfig(P=p).draw.group_size) for p in (3, 8, 16, 32)] == [
        (3, 1),
        (8, 2),
        (16, 4),
        (32, 8),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group_size": 16, "P": 16}, "plan.group_size=16 does not fit into the 25%"),
        ({"P": 2}, "set a larger plan.P, or a lower plan.random_fraction"),
        ({"random_fraction": 1}, "contradicts plan.strategy=mixed, which has less than 1"),
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

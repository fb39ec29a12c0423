"""The collapse guard: what a collapsed loss is worth, when it is seen, and what is softened in which order."""

from __future__ import annotations

import json
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from subspace.mining.errors import InputError, StoppedEarly
from subspace.train.collapse import CollapseGuard, mean_distance
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.building import TrainingSet, build_loss
from subspace.train.losses.cross_batch_memory import CrossBatchMemory
from subspace.train.losses.loss import EmbeddingLoss, JointLoss
from subspace.train.losses.offline_triplets import OfflineTripletLoss
from subspace.train.losses.pair_losses import MultiSimilarityLoss
from subspace.train.losses.random_triplets import DistanceWeightedLoss, RandomTripletLoss
from subspace.train.losses.registry import LOSSES
from subspace.train.losses.triplet_rules import BatchAllLoss, BatchHardLoss, SemiHardLoss
from subspace.train.training_config import CollapseConfig

WINDOW = CollapseConfig(window=4)


def feed(guard: CollapseGuard, values: list[tuple[float, float]], first: int = 1) -> list[int]:
    """Steps at which the guard saw a collapse, of (loss, distance) pairs."""
    return [
        step
        for step, (loss, distance) in enumerate(values, first)
        if guard.add(step, torch.tensor(loss), torch.tensor(distance))
    ]


@pytest.mark.parametrize("rows", [2, 3, 17])
def test_mean_distance_is_that_of_all_pairs(rows: int) -> None:
    embeddings = torch.randn(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    slow = np.mean([float((a - b).square().sum()) for a, b in combinations(unit, 2)])
    assert mean_distance(embeddings).item() == pytest.approx(slow, rel=1e-12)
    assert mean_distance(embeddings[:1]).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        BatchOHNMLoss(0.3, 1),
        BatchOHNMLoss(0.2, 3, squared=False, mean_over_active=False),
        BatchOHNMLoss(soft_margin=True),
        BatchHardLoss(0.4),
        BatchHardLoss(soft_margin=True),
        BatchAllLoss(0.5),
        SemiHardLoss(0.2),
        RandomTripletLoss(0.3),
        DistanceWeightedLoss(0.2),
        OfflineTripletLoss(0.2),
        JointLoss([BatchHardLoss(0.4), BatchOHNMLoss(0.2)], [0.5, 2.0]),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_the_loss_of_nearly_equal_embeddings_is_the_collapsed_value(loss: EmbeddingLoss) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.ones(24, 8) + 1e-5 * torch.randn(24, 8, generator=generator)
    labels = torch.arange(6).repeat_interleave(4)
    expected = loss.collapsed_value
    assert expected is not None
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-3)


def test_losses_that_do_not_rest_have_no_collapsed_value() -> None:
    hinge = BatchOHNMLoss(0.3)
    assert MultiSimilarityLoss().collapsed_value is None
    assert DistanceWeightedLoss(boundary=1.2).collapsed_value is None
    assert BatchOHNMLoss(0.3, max_similarity=0.9).collapsed_value is None  # no negative is left there: 0
    assert JointLoss([hinge, MultiSimilarityLoss()], [1.0, 0.5]).collapsed_value is None
    assert CrossBatchMemory(SemiHardLoss(0.2), 8).collapsed_value == 0.2
    assert BatchOHNMLoss(0.3, soft_margin=True).collapsed_value == math.log(2)


def test_a_collapse_is_a_resting_loss_with_fallen_distances() -> None:
    healthy, resting_far, near_but_learning, collapsed = (
        [(0.2, 1.8)] * 4,
        [(0.3, 1.2)] * 4,
        [(0.2, 0.1)] * 4,
        [(0.301, 0.1)] * 4,
    )
    guard = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    assert feed(guard, healthy + resting_far + near_but_learning + collapsed + collapsed) == [16, 20]


def test_a_collapse_within_the_first_window_is_seen_at_its_end() -> None:
    assert feed(CollapseGuard(BatchOHNMLoss(0.3), WINDOW), [(0.31, 1.0), *[(0.3, 0.01)] * 3]) == [4]


def test_a_network_that_begins_near_one_point_and_spreads_is_left_alone() -> None:
    spreading = [(0.3, 0.01 * 1.1**step) for step in range(20)]
    assert feed(CollapseGuard(BatchOHNMLoss(0.3), WINDOW), spreading) == []


def test_sound_weights_lie_a_whole_window_before_a_collapse() -> None:
    guard = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    sound = []
    for step in range(1, 13):
        feed(guard, [(0.2, 1.8)], step)
        sound.append(guard.sound_step)
    assert sound == [0] * 7 + [4] * 4 + [8]
    assert feed(guard, [(0.3, 0.1)] * 4, 13) == [16]
    assert guard.sound_step == 8


def test_steps_that_learned_nothing_do_not_count() -> None:
    guard = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    feed(guard, [(0.3, 1.8)])
    assert guard.add(2, None, None) is None
    assert feed(guard, [(0.3, 0.1)] * 3, 3) == [5]


def test_the_ladder_takes_more_negatives_then_semi_hard_ones_then_lower_rates() -> None:
    loss = BatchOHNMLoss(0.3, 1, range_min=2)
    guard = CollapseGuard(loss, WINDOW)
    said, taken = [], []
    while (rung := guard.soften(7)) is not None:
        said.append(rung)
        taken.append((loss.negatives, loss.rule.absolute_margin, guard.lr_factor))
    assert taken == [(10, None, 1), (10, 0.0, 1), (10, 0.0, 0.3), (10, 0.0, 0.1), (10, 0.0, 0.03)]
    assert said[0] == "10 negatives instead of 1"
    assert (loss.rule.range_min, guard.level, guard.sound_step) == (2, 5, 7)


def test_the_ladder_of_other_losses_lowers_the_rate() -> None:
    guard = CollapseGuard(BatchHardLoss(0.3), WINDOW)
    assert guard.soften(1) == "learning rate x 0.3"
    assert guard.lr_factor == 0.3


def test_a_memory_does_not_hide_its_loss() -> None:
    inside = BatchOHNMLoss(0.3, 5)
    wrapper = JointLoss([inside], [2.0])
    assert CollapseGuard(wrapper, WINDOW).soften(1) == "15 negatives instead of 5"
    assert inside.negatives == 15


@pytest.mark.parametrize("cut", [0, 3, 4, 6, 11])
def test_a_guard_continues_from_its_state(cut: int) -> None:
    values = [(0.25, 1.5)] * 6 + [(0.3, 0.2)] * 10

    def run(guard: CollapseGuard, steps: range) -> list[int]:
        seen = []
        for step in steps:
            if feed(guard, [values[step]], step + 1):
                seen.append(step + 1)
                guard.soften(step + 1)
        return seen

    whole = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    expected = run(whole, range(16))
    assert expected
    first = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    seen = run(first, range(cut))
    loss = BatchOHNMLoss(0.3)
    second = CollapseGuard(loss, WINDOW)
    second.load(json.loads(json.dumps(first.state())))
    assert seen + run(second, range(cut, 16)) == expected
    assert second.state() == whole.state()
    assert loss.negatives == 10


def test_a_state_of_more_rungs_than_there_are_is_refused() -> None:
    guard = CollapseGuard(BatchHardLoss(0.3), WINDOW)
    with pytest.raises(InputError, match="softened 9 times"):
        guard.climb(9)


def test_nothing_is_watched_where_it_is_off() -> None:
    guard = CollapseGuard(BatchOHNMLoss(0.3), CollapseConfig(action="off", window=4))
    assert feed(guard, [(0.3, 1.0), *[(0.3, 0.0)] * 9]) == []
    assert not guard.goes_back
    assert guard.state() == {}
    guard.refuse_end("train", "train")
    assert not CollapseGuard(BatchOHNMLoss(0.3), CollapseConfig(action="warn")).goes_back


EVERY_LOSS = [*(name for name in LOSSES if name != "xbm"), "xbm:multi_similarity", "batch_ohnm + softmax"]
IDENTITIES = TrainingSet.from_means(torch.eye(6, 8), torch.tensor([0, 0, 0, 1, 1, 1]), seed=0)


@pytest.mark.parametrize("noise", [0.0, 2e-3], ids=["identical", "rounded"])
@pytest.mark.parametrize("name", EVERY_LOSS)
def test_embeddings_of_one_point_are_a_collapse_for_every_loss(name: str, noise: float) -> None:
    loss = build_loss(name, {}, IDENTITIES)
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(6).repeat_interleave(4)

    def steps() -> list[tuple[float, float]]:
        rows = [
            torch.ones(24, 8) * (1 + noise * (torch.rand(24, 8, generator=random) - 0.5)) for _ in range(4)
        ]
        return [(loss(row, labels).item(), mean_distance(row).item()) for row in rows]

    assert feed(CollapseGuard(loss, WINDOW), steps()) == [4]  # from the first step on
    healthy = [(loss(torch.randn(24, 8, generator=random), labels).item(), 1.8) for _ in range(4)]
    assert feed(CollapseGuard(loss, WINDOW), healthy + steps()) == [8]


def test_semi_hard_negatives_alone_give_one_point_a_loss_of_0_and_it_is_seen() -> None:
    loss = BatchOHNMLoss(0.3)
    guard = CollapseGuard(loss, WINDOW)
    for _ in range(2):
        guard.soften(0)
    assert loss.rule.absolute_margin == 0.0
    value = loss(torch.ones(8, 4), torch.arange(4).repeat_interleave(2)).item()
    assert value == 0
    assert feed(guard, [(0.2, 1.8)] * 4 + [(value, 0.0)] * 4) == [8]


@pytest.mark.parametrize(
    "distances",
    [
        [1e-4 * 1.3**step for step in range(40)],  # out of a network that begins near one point
        [2e-7 * 1.3**step for step in range(8, 40)],
        [0.5] * 4 + [0.06] * 8,  # near, but not one point
        [2.0] * 8 + [0.3] * 8,
        [1.0] * 4 + [0.01 * 1.5**step for step in range(12)],  # on its way out again
    ],
)
def test_a_loss_without_a_value_at_rest_gives_no_false_alarm(distances: list[float]) -> None:
    assert feed(CollapseGuard(MultiSimilarityLoss(), WINDOW), [(0.3, each) for each in distances]) == []


def test_the_last_steps_of_a_training_are_looked_at_even_if_they_are_no_window() -> None:
    guard = CollapseGuard(MultiSimilarityLoss(), WINDOW)
    assert guard.at_end() is None  # nothing was seen
    assert feed(guard, [(0.3, 1.8)] * 4 + [(0.3, 0.0)] * 3) == []
    seen = guard.at_end()
    assert seen is not None
    assert "fell from 1.8 to 0, with a loss of 0.300" in str(seen)
    assert guard.at_end() is None
    sound = CollapseGuard(MultiSimilarityLoss(), WINDOW)
    assert feed(sound, [(0.3, 1.8)] * 6) == []
    assert sound.at_end() is None
    sound.refuse_end("train", "train")


def test_a_training_that_ends_in_collapse_is_not_done_however_often_it_is_asked() -> None:
    guard = CollapseGuard(MultiSimilarityLoss(), CollapseConfig(action="warn", window=4))
    feed(guard, [(0.3, 1e-8)] * 4)
    with pytest.raises(StoppedEarly, match=r"round 0: train is not done: .*; set train\.optimizer\.lr lower"):
        guard.refuse_end("round 0: train", "train")
    again = CollapseGuard(MultiSimilarityLoss(), CollapseConfig(action="warn", window=4))
    again.load(json.loads(json.dumps(guard.state())))
    assert again.summary() == {"collapses": 1}
    with pytest.raises(StoppedEarly):
        again.refuse_end("train", "train")
    feed(again, [(0.3, 1.8)] * 4)  # it recovers
    again.refuse_end("train", "train")
    next_round = CollapseGuard(MultiSimilarityLoss(), CollapseConfig(window=4))
    next_round.inherit(guard.state())
    next_round.refuse_end("train", "train")


@pytest.mark.parametrize(("step", "spread", "kept"), [(0, 1.8, False), (4, 1.8, True), (4, 1e-8, False)])
def test_going_back_to_the_beginning_leaves_nothing_that_was_learned(
    step: int, spread: float, *, kept: bool
) -> None:
    guard = CollapseGuard(MultiSimilarityLoss(), WINDOW)
    feed(guard, [(0.3, spread)] * 4 + [(0.3, 1e-8)] * 4)
    guard.go_back({}, step)
    assert guard.ended is not kept


def test_one_collapse_after_another_is_said_ever_more_seldom() -> None:
    guard = CollapseGuard(MultiSimilarityLoss(), CollapseConfig(action="warn", window=1))
    said = []
    for step in range(1, 41):
        assert feed(guard, [(0.3, 0.0)], step) == [step]
        said += [step] * guard.speaks
    assert said == [1, 2, 4, 8, 16, 32]


def test_a_state_of_a_guard_that_watched_nothing_is_a_beginning() -> None:
    guard = CollapseGuard(
        MultiSimilarityLoss(), WINDOW
    )  # until 0.2 there was nothing to watch of such a loss
    guard.load({})
    assert feed(guard, [(0.3, 1.8)] * 4 + [(0.3, 0.0)] * 4) == [8]


def test_the_words_hold_the_numbers() -> None:
    guard = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    collapse = None
    for step, distance in enumerate((1.5, 0.25, 0.25, 0.0), 1):
        collapse = guard.add(step, torch.tensor(0.3), torch.tensor(distance))
    assert str(collapse) == (
        "the embeddings collapse: the loss rests at 0.300 (of one point it is 0.300) "
        "and the mean distance fell from 1.5 to 0.5"
    )


def test_tensors_are_read_only_at_the_end_of_a_window() -> None:
    class Unread(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError("read")

    guard = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    one = torch.tensor(0.3).as_subclass(Unread)
    for step in range(3):
        guard.add(step, one, one)
    with pytest.raises(AssertionError, match="read"):
        guard.add(3, one, one)


def test_rungs_stay_taken_when_the_guard_is_switched_off() -> None:
    first = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    first.soften(1)
    loss = BatchOHNMLoss(0.3)
    second = CollapseGuard(loss, CollapseConfig(action="off"))
    second.load(first.state())
    assert loss.negatives == 10
    assert second.state() == {"level": 1}


def test_distances_reached_after_the_sound_weights_are_forgotten() -> None:
    guard = CollapseGuard(BatchOHNMLoss(0.3), WINDOW)
    near_one_point = [(0.3, 0.02)] * 4
    assert feed(guard, near_one_point) == []
    early = guard.state()
    assert feed(guard, [(0.2, 1.8)] * 4 + near_one_point, 5) == [12]
    guard.go_back(early, 4)
    guard.soften(12)
    assert feed(guard, near_one_point, 13) == []

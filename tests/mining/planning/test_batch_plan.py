"""What every batch of a plan promises, for any identities, subspaces and settings.

Covers mining/planning/distinct_batches.py and mining/randomness.py as well.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from math import comb
from typing import Any, NamedTuple

import numpy as np
import pytest
from array_checks import assert_plausible, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from subspace.mining.clustering.neighbors import nearest_in_subspace
from subspace.mining.errors import InputError
from subspace.mining.manifest import IdentityImages
from subspace.mining.planning.batch_plan import BATCHES_PER_BLOCK, PlanBlock, plan_batches
from subspace.mining.planning.seed_turns import batches_of, members_of
from subspace.mining.planning.settings import PlanConfig

custom = partial(PlanConfig, strategy="custom")


class Case(NamedTuple):
    """Everything that a plan is a function of, but seed and round."""

    images: IdentityImages
    subspace_id: np.ndarray
    config: PlanConfig
    neighbors: np.ndarray
    second_subspace: np.ndarray | None

    def plan(self, seed: int = 0, round_index: int = 0, **changed: Any) -> PlanBlock:
        """The whole plan, with some settings changed."""
        return whole_plan(
            self.images,
            self.subspace_id,
            PlanConfig(**{**self.config.model_dump(), **changed}),
            neighbors=self.neighbors,
            second_subspace=self.second_subspace,
            seed=seed,
            round_index=round_index,
        )

    @property
    def batches_in_a_pass(self) -> int:
        """As many as the members of each subspace fill; everybody's where there are none."""
        if not self.config.seeds_per_batch:
            return -(-len(self.images) // self.config.P)
        homes = self.subspace_id.tolist()
        if self.second_subspace is not None:
            pairs = zip(homes, self.second_subspace.tolist(), strict=True)
            homes = homes + [second for first, second in pairs if second not in (-1, first)]
        return sum(-(-size // self.config.seeds_per_batch) for size in Counter(homes).values())


def images_of(counts: list[int] | np.ndarray, seed: int = 0) -> IdentityImages:
    """Identities with that many images each; neither identity ids nor image ids are dense."""
    rng = np.random.default_rng(seed)
    offset = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    identity_id = np.cumsum(rng.integers(1, 3, len(counts))).astype(np.int32)
    return IdentityImages(identity_id, offset, np.cumsum(rng.integers(1, 4, offset[-1])).astype(np.int64))


def equal_subspaces(
    number: int, size: int, images: int = 2, seed: int = 0
) -> tuple[IdentityImages, np.ndarray]:
    subspace_id = np.random.default_rng(seed).permutation(np.repeat(np.arange(number), size))
    return images_of([images] * (number * size)), subspace_id.astype(np.int32)


def random_neighbors(subspace_id: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    means = np.random.default_rng(seed).standard_normal((len(subspace_id), 6)).astype(np.float32)
    return nearest_in_subspace(means / np.linalg.norm(means, axis=1, keepdims=True), subspace_id, k)


def whole_plan(*arguments: Any, **keywords: Any) -> PlanBlock:
    """All blocks as one."""
    columns = zip(*(vars(block).values() for block in plan_batches(*arguments, **keywords)), strict=True)
    return PlanBlock(*map(np.concatenate, columns))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any identities, subspaces and settings that go together."""
    counts = draw(st.lists(st.integers(1, 7), min_size=2, max_size=24))
    n = len(counts)
    p = draw(st.integers(2, n))
    strategy = draw(
        st.sampled_from(["custom", "custom", "mixed", "random", "subspace", "doppelganger", "graph"])
    )
    if (strategy == "doppelganger" and p < 4) or (strategy == "mixed" and p < 3):
        strategy = "custom"
    group_size = draw(st.integers(1, p)) if strategy == "custom" else None
    fractions = [f for f in (0, 0.1, 0.5) if round((1 - f) * p / (group_size or 4)) >= 1]
    fraction = None
    if strategy in ("custom", "subspace"):
        fraction = draw(st.sampled_from([*fractions, 1] if strategy == "custom" else [None, *fractions]))
    order = draw(st.sampled_from(["interleaved", "sequential"]))
    config = PlanConfig(
        steps=draw(st.integers(1, 40)),
        P=p,
        K=draw(st.integers(1, 5)),
        strategy=strategy,
        group_size=group_size,
        random_fraction=fraction,
        order=order,
        locality_window=draw(st.none() | st.integers(1, 3)) if order == "sequential" else None,
        max_images=draw(st.none() | st.integers(1, 5)),
        singletons=draw(st.sampled_from(["negatives_only", "augment"])),  # what `drop` drops never comes here
    )
    subspaces = st.lists(st.integers(0, draw(st.integers(0, 4))), min_size=n, max_size=n)
    # A number between may have no identity: dropped singletons.
    subspace_id = np.array(draw(subspaces), np.int32)
    second = draw(st.none() | st.lists(st.integers(-1, 4), min_size=n, max_size=n))
    second_subspace = None if second is None else np.array(second, np.int32)
    if draw(st.booleans()):
        members = members_of(subspace_id, second_subspace)
        places = p * batches_of(members, config.seeds_per_batch or p).sum()
        config = PlanConfig(
            **{**config.model_dump(), "max_appearances": int(-(-places // n)) + draw(st.integers(0, 3))}
        )
    neighbors = random_neighbors(subspace_id, max(1, config.draw.group_size - 1))
    return Case(images_of(counts), subspace_id, config, neighbors, second_subspace)


@given(cases(), st.integers(0, 5))
def test_every_batch_has_p_identities_of_k_images(case: Case, seed: int) -> None:
    images, config, plan = case.images, case.config, case.plan(seed)
    owned = [images.image_id[a:b].tolist() for a, b in pairwise(images.offset)]
    homes = {*case.subspace_id.tolist(), *([] if case.second_subspace is None else case.second_subspace)}

    assert plan.step.tolist() == list(range(config.steps))
    assert plan.identity.shape == (config.steps, config.P)
    assert plan.image_id.shape == (config.steps, config.P * config.K)
    assert [a.dtype for a in vars(plan).values()] == [np.int64, np.int32, np.int64, np.int64]
    assert set(plan.subspace_id) <= (homes - {-1} if config.seeds_per_batch else {-1})
    drawn: list[list[int]] = [[] for _ in owned]
    for identities, image_ids in zip(plan.identity.tolist(), plan.image_id.tolist(), strict=True):
        assert len(set(identities)) == config.P
        for j, identity in enumerate(identities):
            row = image_ids[j * config.K : (j + 1) * config.K]
            drawn[identity] += row
            usable = min(len(owned[identity]), config.max_images or 7)
            times = Counter(row)
            assert max(times.values()) - (min(times.values()) if len(times) == usable else 0) <= 1
    for own, found in zip(owned, drawn, strict=True):
        usable = min(len(own), config.max_images or 7)
        assert set(found) <= set(own)
        assert len(set(found)) <= usable
        for start in range(0, len(found), usable):  # every image before any again, from pass to pass
            cycle = found[start : start + usable]
            assert len(set(cycle)) == len(cycle)


@settings(max_examples=50)
@given(cases(), st.integers(0, 5), st.integers(0, 5), st.integers(1, 60))
def test_a_plan_is_a_pure_function_and_begins_with_shorter_ones(
    case: Case, seed: int, round_index: int, steps: int
) -> None:
    inputs = [*vars(case.images).values(), case.subspace_id, case.neighbors]
    before = [array.copy() for array in inputs]
    np.random.seed(steps)  # noqa: NPY002  (global state must not matter)
    plan = case.plan(seed, round_index)
    assert_same(plan, case.plan(seed, round_index))

    other = case.plan(seed, round_index, steps=steps)
    common = min(steps, case.config.steps)
    for name in vars(plan):
        np.testing.assert_array_equal(getattr(plan, name)[:common], getattr(other, name)[:common])
    for array, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, old)


@given(cases())
def test_in_a_pass_everybody_appears_and_nobody_too_often(case: Case) -> None:
    length, everybody = case.batches_in_a_pass, len(case.images)
    plan = case.plan(steps=2 * length)
    for one_pass in (slice(0, length), slice(length, None)):
        visits = np.bincount(plan.identity[one_pass].ravel(), minlength=everybody)
        assert visits.min() >= 1
        limit = case.config.max_appearances
        # Kept for sure while those outside a batch have room: at most P · limit of what is left lies within it.
        if limit is not None and limit * (everybody - case.config.P) >= length * case.config.P:
            assert visits.max() <= max(limit, 2 if case.second_subspace is not None else 1)


def test_a_plan_of_many_blocks_begins_with_shorter_ones() -> None:
    images, subspace_id = equal_subspaces(3, 1000)
    steps = [
        BATCHES_PER_BLOCK - 1,
        BATCHES_PER_BLOCK + 1,
        1500,
        1501,
        3 * BATCHES_PER_BLOCK,
    ]  # a pass has 1500
    plans = [whole_plan(images, subspace_id, custom(steps=s, P=2, random_fraction=0.4)) for s in steps]
    for plan, length in zip(plans, steps, strict=True):
        assert plan.step.tolist() == list(range(length))
        for name in vars(plan):
            np.testing.assert_array_equal(getattr(plan, name), getattr(plans[-1], name)[:length])


def test_other_seeds_rounds_and_passes_give_other_plans() -> None:
    images, subspace_id = equal_subspaces(2, 20)
    config = custom(steps=20, P=4)  # two passes of ten batches
    plans = [
        whole_plan(images, subspace_id, config, seed=seed, round_index=round_index)
        for seed in (0, 1)
        for round_index in (0, 1)
    ]
    drawn = [half.tobytes() for plan in plans for half in np.split(plan.identity, 2)]
    assert len(set(drawn)) == len(drawn)
    images_drawn = [half.tobytes() for plan in plans for half in np.split(plan.image_id, 2)]
    assert len(set(images_drawn)) == len(images_drawn)


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    p=st.integers(2, 5),
    order=st.sampled_from(["interleaved", "sequential"]),
    seed=st.integers(0, 99),
)
def test_a_pass_has_every_identity_once_where_subspaces_are_multiples_of_the_batch(
    sizes: list[int], p: int, order: Any, seed: int
) -> None:
    subspace_id = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(len(sizes)), np.array(sizes) * p)
    )
    config = custom(steps=3 * sum(sizes), P=p, K=1, order=order)
    plan = whole_plan(images_of([1] * len(subspace_id)), subspace_id, config, seed=seed)
    for one_pass in np.split(plan.identity, 3):
        assert sorted(one_pass.ravel().tolist()) == list(range(len(subspace_id)))


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.integers(2, 8),
    st.sampled_from(["interleaved", "sequential"]),
)
def test_batches_stay_in_subspaces_that_can_fill_them(sizes: list[int], p: int, order: Any) -> None:
    sizes = [*sizes, p]
    subspace_id = (
        np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    )
    config = custom(steps=60, P=p, order=order)
    plan = whole_plan(images_of([2] * len(subspace_id)), subspace_id, config)
    for subspace, identities in zip(plan.subspace_id, plan.identity, strict=True):
        own = int((subspace_id[identities] == subspace).sum())
        assert own == min(p, sizes[subspace])


@given(cases())
def test_in_a_pass_every_identity_seeds_a_batch_that_holds_its_neighbors(case: Case) -> None:
    config, length = case.config, case.batches_in_a_pass
    if not config.seeds_per_batch:
        return
    plan = case.plan(steps=2 * length)
    for start in (0, length):
        steps = range(start, start + length)
        batches = [(plan.subspace_id[step], set(plan.identity[step].tolist())) for step in steps]
        for identity, group in enumerate(case.neighbors[:, : config.draw.group_size - 1].tolist()):
            wanted = {identity} if config.max_appearances else {identity, *group} - {-1}
            homes = {int(case.subspace_id[identity])}
            if case.second_subspace is not None:
                homes |= {int(case.second_subspace[identity])} - {-1}
            for home in homes:
                assert any(subspace == home and wanted <= batch for subspace, batch in batches)


def test_with_groups_as_large_as_the_batch_every_identity_anchors_one_batch() -> None:
    images, subspace_id = equal_subspaces(3, 15)
    neighbors = random_neighbors(subspace_id, 9)  # more than needed
    plan = whole_plan(images, subspace_id, custom(steps=45, P=6, group_size=6), neighbors=neighbors)
    assert sorted(plan.identity[:, 0].tolist()) == list(range(45))
    for identities in plan.identity:
        assert identities.tolist() == [identities[0], *neighbors[identities[0], :5]]


def test_groups_stay_in_subspaces_that_can_fill_the_batch() -> None:
    images, subspace_id = equal_subspaces(4, 8)
    config = custom(steps=200, P=8, group_size=4)
    plan = whole_plan(images, subspace_id, config, neighbors=random_neighbors(subspace_id, 3))
    assert (subspace_id[plan.identity] == plan.subspace_id[:, None]).all()


@pytest.mark.parametrize("group_size", [1, 4])
def test_the_random_fraction_comes_from_all_identities(group_size: int) -> None:
    images, subspace_id = equal_subspaces(4, 1000)
    neighbors = random_neighbors(subspace_id, 3)
    for fraction, drawn_anywhere in ((0, 0), (0.25, 8), (0.5, 16)):
        config = custom(steps=200, P=32, K=1, group_size=group_size, random_fraction=fraction)
        plan = whole_plan(images, subspace_id, config, neighbors=neighbors)
        foreign = (subspace_id[plan.identity] != plan.subspace_id[:, None]).sum(axis=1)
        assert foreign.max() <= drawn_anywhere
        assert foreign.mean() == pytest.approx(drawn_anywhere * 3 / 4, abs=0.6)


def test_wholly_random_batches_still_show_everybody_once_in_a_pass() -> None:
    images, subspace_id = equal_subspaces(5, 40)
    plan = whole_plan(images, subspace_id, custom(steps=600, P=8, strategy="random"))
    assert set(plan.subspace_id) == {-1}
    passes = plan.identity.reshape(24, -1)  # of 25 batches
    assert (np.sort(passes, axis=1) == np.arange(200)).all()
    mates = plan.identity[(plan.identity < 40).any(axis=1)]
    assert_plausible(np.bincount(mates[mates >= 40] // 40 - 1, minlength=4))


def test_a_group_that_does_not_divide_the_batch_leaves_the_rest_to_chance() -> None:
    for p, g, fraction, seeds in ((7, 3, 0, 2), (8, 3, 0, 2), (8, 4, 0.5, 1), (8, 1, 0.25, 6), (8, 8, 1, 0)):
        assert custom(P=p, group_size=g, random_fraction=fraction).seeds_per_batch == seeds


def test_sequential_order_goes_through_one_subspace_after_another() -> None:
    images, subspace_id = equal_subspaces(6, 40)
    turns = []
    for order in ("sequential", "interleaved"):
        plan = whole_plan(images, subspace_id, custom(steps=120, P=4, order=order))
        for one_pass in np.split(plan.subspace_id, 2):
            assert np.bincount(one_pass).tolist() == [10] * 6
            changes = int((np.diff(one_pass) != 0).sum())
            assert (changes == 5) == (order == "sequential")
            turns.append(one_pass[::10].tolist())
    assert turns[0] != turns[1]  # a new pass takes them in another order


@pytest.mark.parametrize(
    ("owned", "k"),
    [(7, 3), (2, 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((5, 1), (4, 4), (3, 5)))],
)
def test_images_of_an_identity_are_drawn_uniformly(owned: int, k: int) -> None:
    images = images_of([owned, owned])
    config = custom(steps=3000, P=2, K=k)
    plan = whole_plan(images, np.zeros(2, np.int32), config)
    first = images.image_id[:owned]
    slots = np.argmax(plan.identity == 0, axis=1)
    drawn = np.searchsorted(first, plan.image_id.reshape(-1, 2, k)[np.arange(3000), slots])
    assert_plausible(np.bincount(drawn.ravel(), minlength=owned))
    if k < owned:
        subsets = Counter(tuple(sorted(row)) for row in drawn.tolist())
        assert len(subsets) == comb(owned, k)
        assert_plausible(np.array(list(subsets.values())))


def test_batch_mates_are_drawn_uniformly_from_the_subspace() -> None:
    images, subspace_id = equal_subspaces(2, 12)
    plan = whole_plan(images, subspace_id, custom(steps=3000, P=4, K=1))
    mates = plan.identity[(plan.identity == 0).any(axis=1)].ravel()
    together = np.bincount(mates, minlength=24)
    own = np.flatnonzero(subspace_id == subspace_id[0])
    assert_plausible(together[own[own != 0]])
    assert together.sum() == together[own].sum()


def test_wrong_input_is_told_in_one_line() -> None:
    images, subspace_id = images_of([2] * 10), np.zeros(10, np.int32)
    cases: list[tuple[np.ndarray, dict[str, int], np.ndarray | None, str]] = [
        (subspace_id[1:], {"P": 4}, None, "9 subspace ids for 10 identities; run `subspace cluster` again"),
        (subspace_id, {"P": 11}, None, "plan.P=11 identities in a batch, but only 10 .* set plan.P lower"),
        (subspace_id, {"P": 4, "group_size": 3}, None, "plan.group_size=3 needs 2 neighbours"),
        (subspace_id, {"P": 4, "group_size": 3}, np.zeros((10, 1), np.int32), "needs 2 neighbours"),
    ]
    for ids, changed, neighbors, message in cases:
        with pytest.raises(InputError, match=message) as error:
            whole_plan(images, ids, custom(steps=1, **changed), neighbors=neighbors)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"P": 1},
        {"P": 4, "group_size": 5},
        {"P": 8, "group_size": 8, "random_fraction": 0.6},
        {"K": 0},
        {"steps": 0},
        {"group_size": 0},
        {"random_fraction": 1.1},
        {"order": "any"},
        {"p": 4},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        custom(**wrong)


@settings(max_examples=200)
@given(cases(), st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=20), st.integers(0, 5))
def test_pairs_apart_never_meet_while_others_are_left(
    case: Case, drawn: list[tuple[int, int]], seed: int
) -> None:
    everybody = range(len(case.images))
    met = {(a, b) for pair in drawn for a, b in (pair, pair[::-1]) if a != b and max(pair) < len(everybody)}
    config = PlanConfig(**{**case.config.model_dump(), "max_appearances": None})
    length = case.batches_in_a_pass
    plan = whole_plan(
        case.images,
        case.subspace_id,
        config.model_copy(update={"steps": 2 * length}),
        neighbors=case.neighbors,
        second_subspace=case.second_subspace,
        apart=np.array(sorted(met), np.int64).reshape(-1, 2),
        seed=seed,
    )
    for identities in plan.identity.tolist():
        assert len(set(identities)) == config.P
        if any((a, b) in met for a in identities for b in identities):
            outside = set(everybody) - set(identities)
            assert all(any((a, other) in met for a in identities) for other in outside)
    free = set(everybody) - {a for a, _ in met}
    for one_pass in np.split(plan.identity, 2):
        assert free <= set(one_pass.ravel().tolist())


def test_duplicates_leave_groups_to_the_next_nearest() -> None:
    images, subspace_id = equal_subspaces(1, 40)
    neighbors = random_neighbors(subspace_id, 6)
    apart = np.stack((np.arange(40), neighbors[:, 0]), axis=1)  # everybody's nearest
    config = custom(steps=40, P=4, group_size=3)
    plan = whole_plan(images, subspace_id, config, neighbors=neighbors, apart=apart)
    met = {(a, b) for pair in apart.tolist() for a, b in (pair, pair[::-1])}
    for seed, second, third, _ in plan.identity.tolist():
        group = [seed]
        group += [near for near in neighbors[seed].tolist() if (seed, near) not in met][:1]
        group += [
            near
            for near in neighbors[seed].tolist()
            if near not in group and not any((one, near) in met for one in group)
        ][:1]
        assert [seed, second, third] == group


def test_hubs_are_held_back_and_never_lose_their_own_turn() -> None:
    images, subspace_id = equal_subspaces(2, 300)
    neighbors = np.empty((600, 3), np.int32)
    for home in (0, 1):
        own = np.flatnonzero(subspace_id == home)
        neighbors[own] = own[:3]  # three look-alikes of everybody
        neighbors[own[:3]] = own[3:6]
    free = custom(steps=300, P=8, group_size=4)  # one pass
    capped = custom(steps=300, P=8, group_size=4, max_appearances=6)
    hubs = np.bincount(whole_plan(images, subspace_id, free, neighbors=neighbors).identity.ravel())
    assert hubs.max() == 150  # in every batch of the subspace
    plan = whole_plan(images, subspace_id, capped, neighbors=neighbors)
    visits = np.bincount(plan.identity.ravel(), minlength=600)
    assert visits.max() == 6
    assert (subspace_id[plan.identity] == plan.subspace_id[:, None]).all()
    assert sorted(plan.identity[:, ::4].ravel().tolist()) == list(range(600))


def test_images_of_a_round_are_chosen_anew_in_the_next() -> None:
    images, subspace_id = images_of([20] * 30), np.zeros(30, np.int32)
    config = custom(steps=40, P=6, K=4, max_images=5)
    used = [set(whole_plan(images, subspace_id, config, round_index=r).image_id.ravel()) for r in (0, 0, 1)]
    assert used[0] == used[1]
    assert len(used[0]) == 150
    assert 15 < len(used[0] & used[2]) < 65


def test_a_limit_that_cannot_hold_is_told() -> None:
    images, subspace_id = equal_subspaces(3, 5)  # 15 identities in 6 batches of 4
    with pytest.raises(InputError, match=r"max_appearances=1 leaves 24 places .* set it to 2 or more"):
        whole_plan(images, subspace_id, custom(P=4, steps=1, max_appearances=1))
    with pytest.raises(InputError, match="14 subspace ids for 15 identities"):
        whole_plan(images, subspace_id, custom(P=4, steps=1), second_subspace=subspace_id[1:])

"""Evaluation pairs, against slow loops that restate their definition."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from array_checks import assert_same
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.mining.evaluation.identification import rank_k_rates
from subspace.mining.evaluation.mated_probes import MatedProbes
from subspace.mining.evaluation.pairs import EvaluationPairs, evaluation_pairs

images = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 2)), min_size=1, max_size=24)


def differ(group: np.ndarray | None, a: int, b: int) -> bool:
    return a != b and (group is None or group[a] != group[b] or group[a] == -1)


@given(images, st.booleans(), st.sampled_from([None, 1, 2]), st.integers(0, 3))
def test_pairs_follow_their_definition(
    rows: list[tuple[int, int]], grouped: bool, limit: int | None, seed: int
) -> None:
    identity = np.array([identity for identity, _ in rows])
    group = np.array([group for _, group in rows]) if grouped else None
    mates = {
        a: [b for b in range(len(rows)) if identity[a] == identity[b] and differ(group, a, b)]
        for a in range(len(rows))
    }
    can = {identity[a] for a in mates if mates[a]}
    if not can:
        with pytest.raises(InputError, match="two images, of different groups"):
            evaluation_pairs(identity, group, probes_per_identity=limit, seed=seed)
        return

    pairs = evaluation_pairs(identity, group, probes_per_identity=limit, seed=seed)

    assert identity[pairs.gallery].tolist() == sorted(can)
    assert identity[pairs.distractor].tolist() == sorted(set(identity) - can)
    expected = []
    for image in pairs.gallery:
        mine = [probe for probe in pairs.probe if identity[probe] == identity[image]]
        assert set(mine) <= set(mates[image])
        assert len(mine) == min(len(mates[image]), limit or len(rows))
        expected += sorted(mine)
    assert pairs.probe.tolist() == expected


def test_pairs_are_a_pure_function_of_images_sorted_by_identity() -> None:
    rng = np.random.default_rng(0)
    identity, group = rng.integers(0, 30, 200), rng.integers(-1, 3, 200)
    pairs = evaluation_pairs(identity, group, probes_per_identity=2, seed=1)
    assert_same(pairs, evaluation_pairs(identity, group, probes_per_identity=2, seed=1))

    order = np.argsort(identity, kind="stable")
    by_identity = evaluation_pairs(identity[order], group[order], probes_per_identity=2, seed=1)
    assert_same(pairs, EvaluationPairs(*(order[position] for position in vars(by_identity).values())))

    other_seed = evaluation_pairs(identity, group, probes_per_identity=2, seed=2)
    assert (pairs.gallery != other_seed.gallery).any()


def test_the_draw_of_gallery_and_probe_is_uniform() -> None:
    identity, group = np.zeros(4, int), np.array([0, 0, 1, -1])
    drawn = Counter()
    for seed in range(3000):
        pairs = evaluation_pairs(identity, group, probes_per_identity=1, seed=seed)
        drawn[int(pairs.gallery[0]), int(pairs.probe[0])] += 1
    for (gallery, _), count in drawn.items():
        choices = 2 if gallery in (0, 1) else 3
        assert count / 3000 == pytest.approx(1 / 4 / choices, abs=0.03)
    assert len(drawn) == 2 * 2 + 2 * 3


def test_wrong_input_is_told_in_one_line() -> None:
    identity_id = np.arange(5)
    with pytest.raises(InputError, match="probes_per_identity is 0"):
        evaluation_pairs(identity_id, None, probes_per_identity=0, seed=0)
    with pytest.raises(InputError, match="one entry per image"):
        evaluation_pairs(identity_id, identity_id[1:], probes_per_identity=None, seed=0)


@given(images, st.data())
def test_no_image_is_compared_with_itself(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    identity, group = (np.array(column) for column in zip(*rows, strict=True))
    file = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows))))
    distinct: dict[tuple[int, int], int] = {}
    for place, key in enumerate(zip(identity.tolist(), file.tolist(), strict=True)):
        distinct.setdefault(key, place)
    kept = np.array(sorted(distinct.values()))
    try:
        alone = evaluation_pairs(identity[kept], group[kept], probes_per_identity=2, seed=1)
    except InputError:
        with pytest.raises(InputError, match="two images"):
            evaluation_pairs(identity, group, probes_per_identity=2, seed=1, file=file)
        return
    pairs = evaluation_pairs(identity, group, probes_per_identity=2, seed=1, file=file)
    for name in vars(pairs):  # as if the second listing of an image were not there
        np.testing.assert_array_equal(getattr(pairs, name), kept[getattr(alone, name)])
    all_differ = evaluation_pairs(
        identity[kept], group[kept], probes_per_identity=2, seed=1, file=np.arange(len(kept))
    )
    assert_same(all_differ, alone)


def test_images_listed_twice_leave_noise_at_chance() -> None:
    rng = np.random.default_rng(0)
    file = np.arange(300)  # 100 identities of 3 images
    listed = np.append(file, file[::3])  # and the first of each once more
    identity = listed // 3
    noise = rng.standard_normal((300, 32))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    rank_1 = {}
    for name, known in (("as listed", None), ("by file", listed)):
        pairs = evaluation_pairs(identity, None, probes_per_identity=4, seed=0, file=known)
        rows = noise[listed]
        mated = MatedProbes.match(
            rows[pairs.gallery], identity[pairs.gallery], rows[pairs.probe], identity[pairs.probe]
        )
        rank_1[name] = rank_k_rates(mated, ks=(1,), bootstrap=10)[0].value
    assert rank_1["as listed"] > 0.1  # an image finds itself
    assert rank_1["by file"] < 0.03

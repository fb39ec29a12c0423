"""Retrieval metrics against the field's packages, and against a slow loop of Market-1501's protocol.

Covers mining/evaluation/matches.py, too.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, tied_rows, unit
from torchmetrics_alone import torchmetrics_alone

from subspace.mining.errors import InputError
from subspace.mining.evaluation import matches as matches_module
from subspace.mining.evaluation.matches import Cosines
from subspace.mining.evaluation.mated_probes import TIE
from subspace.mining.evaluation.retrieval import NAMES, retrieval_metrics

ALL = ("recall@1", "recall@2", "recall@5", *NAMES)


def many_images(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """All images of made-up identities, in random order, no two similarities nearly equal."""
    rng = np.random.default_rng(seed)
    gallery, gallery_id, probe, probe_id = noisy_identities(rng, n, noise=0.2)
    order = rng.permutation(len(gallery) + len(probe))
    rows, identity = np.concatenate((gallery, probe))[order], np.concatenate((gallery_id, probe_id))[order]
    return rows, identity


def nearest_gap(query: np.ndarray, gallery: np.ndarray) -> float:
    return float(np.diff(np.sort(query @ gallery.T, axis=1), axis=1).min())


def values(found: object) -> dict[str, float]:
    return {metric.name: metric.value for metric in found.metrics}  # pyright: ignore[reportAttributeAccessIssue]


def apart(seeds: range, make: object) -> tuple[np.ndarray, ...]:
    """The first made-up data in which no two similarities of a query are near TIE: peers break ties at random."""
    for seed in seeds:
        data = make(seed)  # pyright: ignore[reportCallIssue]
        rows = data[0]
        others = data[2] if len(data) > 2 else rows
        if nearest_gap(rows, others) > 4 * TIE:
            return data
    raise AssertionError("no data without ties")


def query_and_gallery(seed: int) -> tuple[np.ndarray, ...]:
    rows, identity = many_images(seed, 14)
    half = len(rows) // 2
    return rows[:half], identity[:half], rows[half:], identity[half:]


PML = {
    "recall@1": "precision_at_1", "R-precision": "r_precision", "mAP": "mean_average_precision",
    "mAP@R": "mean_average_precision_at_r", "MRR": "mean_reciprocal_rank",
}  # fmt: skip


def nearest_others(query, k, reference, ref_includes_query):
    similarity = query @ reference.T
    if ref_includes_query:
        similarity.fill_diagonal_(-2)
    return similarity.topk(min(k, len(reference) - ref_includes_query))


@pytest.mark.parametrize("leave_one_out", [True, False])
def test_pytorch_metric_learning_says_the_same(leave_one_out: bool) -> None:
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")

    judge = calculator.AccuracyCalculator(
        include=tuple(PML.values()), knn_func=nearest_others, device=torch.device("cpu")
    )
    if leave_one_out:
        rows, identity = apart(range(200), lambda seed: many_images(seed, 12))
        assert np.bincount(identity).min() > 1
        theirs = judge.get_accuracy(torch.from_numpy(rows), torch.from_numpy(identity))
        ours = retrieval_metrics(tuple(PML), rows, identity, bootstrap=2)
    else:
        query, query_id, gallery, gallery_id = apart(range(200), query_and_gallery)
        there = np.isin(query_id, gallery_id)
        theirs = judge.get_accuracy(
            *map(torch.from_numpy, (query[there], query_id[there], gallery, gallery_id))
        )
        ours = retrieval_metrics(tuple(PML), query, query_id, gallery, gallery_id, bootstrap=2)
        assert ours.unmatched == (~there).sum() > 0
    assert 0.3 < theirs["precision_at_1"] < 1
    for name, peer in PML.items():
        assert values(ours)[name] == pytest.approx(theirs[peer], abs=1e-6), name


def test_dense_similarities_are_in_the_order_of_float64_and_of_the_peer() -> None:
    """With ties of 1e-6, mAP was more than 2e-6 too low here, and 1.2e-5 on the embeddings of glyphs."""
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(40), 15)
    rows = unit(2 * rng.standard_normal((40, 3))[identity] + rng.standard_normal((600, 3)))
    scaled = rows / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    similarity = scaled @ scaled.T

    def slow(tie: float) -> dict[str, float]:
        all_matches, first_matches = [], []
        for q in range(600):
            same = (identity == identity[q]) & (np.arange(600) != q)
            mine, others = -np.sort(-similarity[q, same]), similarity[q, identity != identity[q]]
            place = np.arange(1, 15)
            precision = place / (place + (others[:, None] >= mine - tie).sum(axis=0))
            all_matches.append(precision.mean())
            first_matches.append((precision * (place / precision <= 14.5)).mean())
        return {"mAP": float(np.mean(all_matches)), "mAP@R": float(np.mean(first_matches))}

    judge = calculator.AccuracyCalculator(
        include=(PML["mAP"], PML["mAP@R"]), knn_func=nearest_others, device=torch.device("cpu")
    )
    theirs = judge.get_accuracy(torch.from_numpy(rows), torch.from_numpy(identity))
    exact = slow(Cosines.tie)
    assert slow(1e-6)["mAP"] < exact["mAP"] - 2e-6  # dense enough that ties of 1e-6 matter
    for block in (None, 7):
        ours = values(retrieval_metrics(("mAP", "mAP@R"), rows, identity, bootstrap=2, block=block))
        for name in ours:
            assert ours[name] == pytest.approx(exact[name], abs=1e-12)
            assert ours[name] == pytest.approx(theirs[PML[name]], abs=1e-6)


def test_rows_that_are_equal_but_for_rounding_are_ties() -> None:
    rng = np.random.default_rng(0)
    row = unit(rng.standard_normal((1, 16)))
    rows = np.float32(row * (1 + 2e-7 * rng.standard_normal((60, 16))))
    found = values(retrieval_metrics(("mAP", "MRR"), rows, np.repeat(np.arange(20), 3), bootstrap=2))
    assert found == {"mAP": pytest.approx((1 / 58 + 2 / 59) / 2), "MRR": pytest.approx(1 / 58)}


def test_scikit_learn_and_torchmetrics_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.metrics import average_precision_score

    functional = torchmetrics_alone(monkeypatch, "retrieval")
    query, query_id, gallery, gallery_id = apart(range(200), query_and_gallery)
    there = np.isin(query_id, gallery_id)
    similarity, same = query @ gallery.T, query_id[:, None] == gallery_id
    ours = values(retrieval_metrics(ALL, query, query_id, gallery, gallery_id, bootstrap=2))
    pairs = [(torch.from_numpy(similarity[q]), torch.from_numpy(same[q])) for q in np.flatnonzero(there)]
    sklearn = [average_precision_score(s.numpy(), p.numpy()) for p, s in pairs]
    assert ours["mAP"] == pytest.approx(np.mean(sklearn), abs=1e-6)
    theirs = {
        "mAP": functional.retrieval_average_precision, "MRR": functional.retrieval_reciprocal_rank,
        "R-precision": functional.retrieval_r_precision,
        **{f"recall@{k}": lambda p, s, k=k: functional.retrieval_hit_rate(p, s, top_k=k) for k in (1, 2, 5)},
    }  # fmt: skip
    for name, peer in theirs.items():
        assert ours[name] == pytest.approx(np.mean([peer(p, s).item() for p, s in pairs]), abs=1e-6), name


def slow_ranking(similarity: list[float], match: list[bool], left_out: list[bool]) -> list[bool]:
    """The ranking of a query: True where a match is; equals come before matches."""
    kept = [i for i in range(len(match)) if match[i] or not left_out[i]]
    ranked = sorted(kept, key=lambda i: (-(similarity[i] - (2 * TIE if match[i] else 0)), match[i]))
    return [match[i] for i in ranked]


def market(query: tuple, gallery: tuple, itself: bool = False) -> tuple[dict[str, float], int]:
    """The protocol of Market-1501, query by query; each side is rows, identities, cameras."""
    sums, queries, unmatched = dict.fromkeys(ALL, 0.0), 0, 0
    for q, (row, identity, camera) in enumerate(zip(*query, strict=True)):
        similarity, match, left_out = [], [], []
        for g, (other, whose, where) in enumerate(zip(*gallery, strict=True)):
            similarity.append(float(row @ other))
            own = whose == identity and identity >= 0
            junk = (camera == where and camera >= 0) or (itself and q == g)
            match.append(own and not junk)
            left_out.append(whose < 0 or (own and junk))
        ranking = slow_ranking(similarity, match, left_out)
        positions = [place for place, is_match in enumerate(ranking, 1) if is_match]
        if not positions:
            unmatched += 1
            continue
        queries, r = queries + 1, len(positions)
        precision = [i / place for i, place in enumerate(positions, 1)]
        for k in (1, 2, 5):
            sums[f"recall@{k}"] += any(ranking[:k])
        sums["mAP"] += sum(precision) / r
        sums["mAP@R"] += sum(p for p, place in zip(precision, positions, strict=True) if place <= r) / r
        sums["R-precision"] += sum(ranking[:r]) / r
        sums["MRR"] += 1 / positions[0]
        sums["mINP"] += r / positions[-1]
    return {name: total / max(1, queries) for name, total in sums.items()}, unmatched


@given(
    st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 14), st.integers(1, 4), st.integers(1, 9),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_market_1501_slowly(
    seed: int, queries: int, images: int, identities: int, block: int, cameras: bool, leave_one_out: bool
) -> None:
    rng = np.random.default_rng(seed)

    def side(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            tied_rows(rng, n),
            rng.integers(-1, identities, n),
            rng.integers(-1, 3, n) if cameras else np.full(n, -1),
        )

    gallery = side(images)
    query = gallery if leave_one_out else side(queries)
    expected, unmatched = market(query, gallery, itself=leave_one_out)
    groups = (query[2], None if leave_one_out else gallery[2]) if cameras else (None, None)
    given_gallery = () if leave_one_out else gallery[:2]
    asked = {"query_group": groups[0], "gallery_group": groups[1], "bootstrap": 2, "block": block}
    if unmatched == len(query[0]):
        with pytest.raises(InputError, match=f"none of {unmatched} queries has a match"):
            retrieval_metrics(ALL, *query[:2], *given_gallery, **asked)
        return
    found = retrieval_metrics(ALL, *query[:2], *given_gallery, **asked)
    assert values(found) == pytest.approx(expected, abs=1e-12)
    assert (found.unmatched, found.junk) == (unmatched, (gallery[1] < 0).sum())
    assert found.queries + found.unmatched == len(query[0]) == len(found.first_position)


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, identity = many_images(0)
    whole = retrieval_metrics(ALL, rows, identity)
    monkeypatch.setattr(matches_module, "PAIRS", 7)
    monkeypatch.setattr(matches_module.Cosines, "most", 5)
    monkeypatch.setattr(matches_module, "GATHERED", 3)
    assert retrieval_metrics(ALL, rows, identity) == whole


def test_an_image_on_both_sides_is_not_compared_with_itself() -> None:
    rows, identity = many_images(1)
    image = np.arange(len(rows)) + 5
    both = retrieval_metrics(ALL, rows, identity, rows, identity, query_image=image, gallery_image=image)
    assert both == retrieval_metrics(ALL, rows, identity)
    itself = retrieval_metrics(["recall@1"], rows, identity, rows, identity)
    assert itself["recall@1"].value > both["recall@1"].value


def test_a_collapsed_network_is_not_flattered() -> None:
    row, identity = unit(np.random.default_rng(0).standard_normal((1, 512))), np.arange(100) // 2
    found = retrieval_metrics(ALL, row.repeat(100, 0), identity)
    assert values(found) == pytest.approx(
        dict.fromkeys(ALL, 0) | dict.fromkeys(("mAP", "MRR", "mINP"), 1 / 99)
    )


def test_one_identity_alone_finds_itself() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((4, 8)))
    found = retrieval_metrics(ALL, rows, np.zeros(4, int), bootstrap=5)
    assert all((metric.value, metric.low, metric.high) == (1, 1, 1) for metric in found.metrics)
    assert found.first_position.tolist() == [1, 1, 1, 1]


def test_the_interval_is_over_identities() -> None:
    rng, n, each = np.random.default_rng(0), 100, 5
    right = np.repeat(rng.random(n) < 0.5, each)
    owner = np.repeat(np.arange(n), each)
    gallery = np.eye(2 * n, dtype=np.float32)
    query = gallery[np.where(right, owner, owner + n)]  # found at once, or after somebody else
    metric = retrieval_metrics(["recall@1"], query, owner, gallery, np.arange(2 * n))["recall@1"]
    assert metric.value == right.mean()
    width = 2 * 1.96 * math.sqrt(0.25 / n)  # over queries it would be less than half of that
    assert metric.high - metric.low == pytest.approx(width, rel=0.25)


@pytest.mark.parametrize(
    ("names", "query", "identity", "said"),
    [
        (["map"], np.eye(2), [1, 1], "'map' is no retrieval metric; choose from recall@1, mAP"),
        (["recall@0"], np.eye(2), [1, 1], "is no retrieval metric"),
        (["recall@x"], np.eye(2), [1, 1], "is no retrieval metric"),
        (["mAP"], np.eye(2), [1], "2 query embeddings but identities of shape"),
        (["mAP"], np.eye(2), [1.5, 2], "whole number"),
        (["mAP"], np.eye(2), [1, 2], "none of 2 queries has a match"),
        (["mAP"], np.empty((0, 2)), np.empty(0, int), "none of 0 queries has a match"),
        (["mAP"], [[np.nan, 1], [0, 1]], [1, 1], "1 of 2 query embeddings hold NaN"),
    ],
)
def test_what_is_wrong_is_said(names: list[str], query: np.ndarray, identity: list[int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        retrieval_metrics(names, query, identity)

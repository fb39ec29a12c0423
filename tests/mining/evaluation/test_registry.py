"""Metrics by name: names there and back, what a wrong name is told, and one call against each metric's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, unit

from subspace.mining.errors import InputError
from subspace.mining.evaluation.coverage import coverage_at_precision
from subspace.mining.evaluation.identification import rank_k_rates
from subspace.mining.evaluation.mated_probes import MatedProbes
from subspace.mining.evaluation.registry import (
    FAMILIES,
    AskedMetric,
    compute_mated,
    compute_metrics,
    parse_metric,
)
from subspace.mining.evaluation.retrieval import retrieval_metrics
from subspace.mining.evaluation.verification import tar_at_far
from subspace.pipeline.estimates.metric_speed import metric_pairs

KNOWN = ", ".join(family.example for family in FAMILIES.values())

shares = st.floats(0, 1, exclude_min=True)
asked_metrics = st.one_of(
    st.builds(AskedMetric, st.just("Rank-"), st.integers(1, 10**9)),
    st.builds(AskedMetric, st.just("TAR@FAR="), shares.filter(lambda far: far < 1)),
    st.builds(AskedMetric, st.just("coverage@P="), shares),
)


@given(asked_metrics)
def test_a_name_is_read_as_it_is_written(asked: AskedMetric) -> None:
    assert parse_metric(str(asked)) == asked


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("TAR@FAR=0.001", "TAR@FAR=1e-3"),
        ("TAR@FAR=1E-03", "TAR@FAR=1e-3"),
        ("coverage@P=.950", "coverage@P=0.95"),
        ("coverage@P=1.0", "coverage@P=1"),
        ("DIR@FAR=0.01", "DIR@FAR=1e-2"),
        ("recall@05", "recall@5"),
        ("mAP@R", "mAP@R"),
        ("mAP", "mAP"),
    ],
)
def test_a_number_may_be_spelled_otherwise(name: str, same: str) -> None:
    assert str(parse_metric(name)) == same


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Rank1", "Rank-1"),
        ("rank-10", "Rank-10"),
        ("Rank@5", "Rank-5"),
        ("Rank-1.5", "Rank-1"),
        ("TAR@1e-4", "TAR@FAR=1e-4"),
        ("tar@far=0.01", "TAR@FAR=1e-2"),
        ("coverage@0.99", "coverage@P=0.99"),
        ("Coverage@P=95", "coverage@P=0.95"),
        ("map@r", "mAP@R"),
        ("Recall@5", "recall@5"),
        ("mrr", "MRR"),
        ("DIR@1e-3", "DIR@FAR=1e-3"),
    ],
)
def test_a_wrong_name_is_told_what_it_may_mean(name: str, meant: str) -> None:
    with pytest.raises(InputError) as error:
        parse_metric(name)
    assert str(error.value) == (
        f"unknown metric '{name}'; choose from {KNOWN}, with numbers of your own; did you mean '{meant}'?"
    )


@pytest.mark.parametrize("name", ["", "accuracy"])
def test_a_name_like_no_metric_is_told_the_metrics_alone(name: str) -> None:
    with pytest.raises(InputError, match=r"with numbers of your own$"):
        parse_metric(name)


@pytest.mark.parametrize("name", ["Rank-0", "TAR@FAR=1", "TAR@FAR=nan", "coverage@P=0", "coverage@P=95"])
def test_a_number_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"metric '{name}': .*; give"):
        parse_metric(name)


def test_one_call_gives_what_each_metric_gives() -> None:
    data = noisy_identities(np.random.default_rng(0), 40)
    distractors = unit(np.random.default_rng(1).standard_normal((30, 24)))
    names = ("coverage@P=0.5", "Rank-5", "TAR@FAR=1e-2", "Rank-1", "coverage@P=0.9", "TAR@FAR=1e-5", "Rank-5")

    found = compute_metrics(names, *data, distractors=distractors, bootstrap=9, seed=4)

    mated = MatedProbes.match(*data, distractors=distractors)
    own = {
        metric.name: metric
        for metrics in (
            rank_k_rates(mated, (1, 5), bootstrap=9, seed=4),
            tar_at_far(mated, (1e-2, 1e-5), bootstrap=9, seed=4),
            coverage_at_precision(mated, (0.5, 0.9), bootstrap=9, seed=4),
        )
        for metric in metrics
    }
    assert [metric.name for metric in found.metrics] == list(dict.fromkeys(names))
    assert {metric.name: metric for metric in found.metrics} == own
    assert found["Rank-1"] != compute_metrics(("Rank-1",), *data, bootstrap=9, seed=4)["Rank-1"]


def test_it_is_told_how_many_pairs_are_done() -> None:
    data = noisy_identities(np.random.default_rng(0), 40)
    distractors = unit(np.random.default_rng(1).standard_normal((30, 24)))
    sizes = len(data[0]), len(data[2]), 30
    for name in ("Rank-1", "TAR@FAR=1e-2", "EER", "coverage@P=0.9", "mAP"):
        seen: list[int] = []
        compute_metrics([name], *data, distractors=distractors, bootstrap=9, block=16, track=seen.append)
        pairs = metric_pairs([name], *sizes, bootstrap=9) if name != "mAP" else sizes[0] * sizes[1]
        assert 0.95 * pairs < sum(seen) <= pairs
        assert len(seen) > 1 or name == "mAP"  # whose blocks are larger than all of these


def test_json_has_metrics_by_name_and_counts() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(0), 20)
    some = probe_id < 15
    found = compute_metrics(("Rank-1", "TAR@FAR=1e-1"), gallery, gallery_id, probe[some], probe_id[some])
    read = json.loads(json.dumps(found.to_json()))
    metrics = read.pop("metrics")
    assert set(metrics["Rank-1"]) == {"value", "low", "high"}
    assert set(metrics["TAR@FAR=1e-1"]) == {"value", "low", "high", "far", "threshold"}
    pairs = int(some.sum())
    assert read == {
        "identities": 15, "probes": pairs, "gallery": 20, "distractors": 0,
        "genuine_pairs": pairs, "impostor_pairs": 19 * pairs,
    }  # fmt: skip


def test_retrieval_of_given_sides_is_that_of_its_own_function() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(0), 20)
    names = ("mAP", "Rank-1", "recall@3")
    found = compute_metrics(names, gallery, gallery_id, probe, probe_id, bootstrap=9, seed=4)
    alone = retrieval_metrics(names[::2], probe, probe_id, gallery, gallery_id, bootstrap=9, seed=4)
    assert [metric.name for metric in found.metrics] == list(names)
    assert (found["mAP"], found["recall@3"]) == alone.metrics
    with pytest.raises(InputError, match="mAP ranks all images"):
        compute_mated(["mAP"], MatedProbes.match(gallery, gallery_id, probe, probe_id))

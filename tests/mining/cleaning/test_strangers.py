"""The probability of a stranger: against mixtures whose shares and densities are known, and on what has no strangers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from subspace.mining.cleaning.strangers import _falling, groups_of, stranger_probability


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_as_bayes_has_it_where_both_densities_are_known(share: float) -> None:
    random = np.random.default_rng(0)
    at_home, strange = stats.norm(0.6, 0.12), stats.norm(0.1, 0.12)
    n = 40_000
    is_strange = random.random(n) < share
    scores = np.where(is_strange, strange.rvs(n, random_state=random), at_home.rvs(n, random_state=random))
    one = np.ones(n)
    found = stranger_probability(scores, one, strange.rvs(n, random_state=random), one)
    assert found.share == pytest.approx(share, rel=0.15)
    true = share * strange.pdf(scores) / (share * strange.pdf(scores) + (1 - share) * at_home.pdf(scores))
    assert np.mean((found.probability >= 0.5) == (true >= 0.5)) > 0.995
    assert np.abs(found.probability - true).mean() < 0.01


def test_where_nobody_is_a_stranger_hardly_anybody_is_called_one() -> None:
    random = np.random.default_rng(1)
    scores, one = random.normal(0.7, 0.1, 20_000), np.ones(20_000)
    found = stranger_probability(scores, one, random.normal(0.0, 0.1, 20_000), one)
    assert found.share < 0.001
    assert (found.probability >= 0.5).sum() <= 2


def test_identities_of_few_images_are_judged_among_themselves() -> None:
    random = np.random.default_rng(2)
    images = np.repeat([1, 8], 5000)
    # A score of 0.45 is a stranger's where scores scatter little, and at home where they scatter much.
    strangers = np.concatenate([random.normal(0, 0.05, 5000), random.normal(0.4, 0.05, 5000)])
    scores = np.concatenate(
        [random.normal(0.45, 0.05, 5000), random.normal(0.9, 0.03, 4000), random.normal(0.4, 0.05, 1000)]
    )
    found = stranger_probability(scores, images, strangers, images).probability >= 0.5
    assert found[:5000].sum() == 0
    assert found[5000:9000].mean() < 0.001
    assert found[9000:].mean() > 0.99


def test_pooling_is_isotonic_regression() -> None:
    random = np.random.default_rng(3)
    seen = random.integers(1, 40, 60).astype(float)
    expected = seen * random.random(60) * np.linspace(1, 0, 60)
    theirs = IsotonicRegression(increasing=False).fit_transform(
        np.arange(60), expected / seen, sample_weight=seen
    )
    np.testing.assert_allclose(_falling(expected, seen), theirs, atol=1e-12)


def test_no_score_and_no_stranger_say_nothing() -> None:
    one = np.ones(3)
    assert stranger_probability(np.full(3, np.nan), one, np.zeros(3), one).probability.tolist() == [0, 0, 0]
    assert stranger_probability(np.zeros(3), one, np.full(3, np.nan), one).share == 0


def test_groups_have_enough_and_leave_nobody_out() -> None:
    assert groups_of(np.ones(10)) == [(0.0, np.inf)]
    borders = groups_of(np.repeat(np.arange(1, 200), 20))
    assert borders[0][0] == 0
    assert borders[-1][1] == np.inf
    assert [low for low, _ in borders[1:]] == [high for _, high in borders[:-1]]

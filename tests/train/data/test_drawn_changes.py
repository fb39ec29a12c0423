"""What is drawn for places: the ranges asked for, evenly, alike for any share of a batch, each kind by itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest

from subspace.train.data.drawn_changes import DrawnChanges, Some, draw_boxes, draw_changes, gaussian_taps
from subspace.train.data.settings import AugmentConfig

ALL = AugmentConfig(
    crop=(0.4, 0.9), brightness=0.4, contrast=0.3, saturation=0.5, hue=0.1, grey=0.3, blur=0.4, low_resolution=0.5, erase=0.6
)  # fmt: skip
N = 20_000


def drawn(
    config: AugmentConfig = ALL, places: Any = None, n: int = N, seed: int = 0, step: int = 3
) -> DrawnChanges:
    return draw_changes(config, (seed, 1), step, np.arange(n) if places is None else np.asarray(places), n)


def uniform(values: np.ndarray, low: float, high: float) -> bool:
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    return kstest((values - low) / (high - low), "uniform").pvalue > 1e-4


def test_draws_have_the_ranges_and_chances_asked_for() -> None:
    found = drawn()
    for name, spread in (("brightness", 0.4), ("contrast", 0.3), ("saturation", 0.5)):
        assert uniform(getattr(found, name), 1 - spread, 1 + spread)
    assert found.hue is not None
    assert uniform(found.hue, -0.1, 0.1)
    for name, chance in (("grey", 0.3), ("blur", 0.4), ("low_resolution", 0.5), ("erase", 0.6)):
        some: Some = getattr(found, name)
        assert binomtest(len(some.rows), N, chance).pvalue > 1e-4
        assert len(some.values) == len(some.rows)
        assert (np.diff(some.rows) > 0).all()
    assert found.low_resolution is not None
    assert uniform(found.low_resolution.values, 0.25, 0.75)
    assert found.crop is not None
    assert uniform(found.crop[:, 2] * found.crop[:, 3], 0.4, 0.9)


@given(
    st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)).map(sorted),
    st.tuples(st.floats(0.02, 1), st.floats(1, 50)),
    st.integers(0, 99),
)
def test_boxes_are_inside_with_the_area_and_ratio_asked_for(
    areas: list[float], ratios: tuple[float, float], seed: int
) -> None:
    boxes = draw_boxes(np.random.default_rng(seed), (areas[0], areas[1]), ratios, 50).astype(float)
    top, left, height, width = boxes.T
    assert (np.stack([top, left]) >= 0).all()
    assert (np.stack([top + height, left + width]) <= 1 + 1e-6).all()
    np.testing.assert_array_less(areas[0] * 0.9999, height * width)
    np.testing.assert_array_less(height * width, areas[1] * 1.0001)
    np.testing.assert_array_less(ratios[0] * 0.9999, width / height)
    np.testing.assert_array_less(width / height, ratios[1] * 1.0001)


def test_boxes_are_anywhere_and_as_often_wide_as_tall() -> None:
    top, left, height, width = draw_boxes(np.random.default_rng(0), (0.2, 0.5), (0.5, 2), N).T
    assert uniform(top / (1 - height), 0, 1)
    assert uniform(left / (1 - width), 0, 1)
    assert uniform(np.log(width / height), -np.log(2), np.log(2))
    assert abs(np.corrcoef(top / (1 - height), left / (1 - width))[0, 1]) < 0.03


def test_taps_are_gaussians_that_float32_adds_exactly() -> None:
    sigmas = np.array([0.1, 0.7, 1.3, 2.0])
    taps = gaussian_taps(sigmas, 2.0)
    assert taps.shape == (4, 13)
    assert (taps * 2**16 == np.round(taps * 2**16)).all()
    assert (taps.sum(axis=1) == 1).all()
    at = np.arange(-6, 7)
    for own, sigma in zip(taps, sigmas, strict=True):
        wanted = np.exp(-(at**2) / (2 * sigma**2))
        np.testing.assert_allclose(own, wanted / wanted.sum(), atol=1e-4)


@given(st.sets(st.integers(0, 39), min_size=1).map(sorted))
def test_a_share_of_a_batch_has_its_rows(places: list[int]) -> None:
    whole, part = drawn(n=40), drawn(n=40, places=places)
    for field in fields(DrawnChanges):
        a, b = getattr(whole, field.name), getattr(part, field.name)
        if isinstance(a, Some):
            values = dict(zip(a.rows.tolist(), a.values, strict=True))
            assert [places[row] for row in b.rows] == [place for place in places if place in values]
            for row, value in zip(b.rows, b.values, strict=True):
                np.testing.assert_array_equal(value, values[places[row]])
        else:
            np.testing.assert_array_equal(b, a[places])


def test_seed_and_step_draw_other_numbers() -> None:
    first = drawn(n=30)
    for other in (drawn(n=30, seed=1), drawn(n=30, step=4)):
        assert not np.array_equal(other.crop, first.crop)
        assert other.erase is not None
        assert first.erase is not None
        assert other.erase.rows.tolist() != first.erase.rows.tolist()


@pytest.mark.parametrize("name", ["crop", "brightness", "contrast", "saturation", "hue", "grey", "blur", "low_resolution", "erase"])  # fmt: skip
def test_a_change_draws_the_same_whatever_else_is_on(name: str) -> None:
    alone = drawn(AugmentConfig.model_validate({name: getattr(ALL, name)}), n=50)
    a, b = getattr(alone, name), getattr(drawn(n=50), name)
    if isinstance(a, Some):
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.values, b.values)
    else:
        np.testing.assert_array_equal(a, b)
    assert [field.name for field in fields(alone) if getattr(alone, field.name) is not None] == [name]

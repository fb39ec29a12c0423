"""Which rates are tried, and in which order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from subspace.mining import InputError
from subspace.pipeline.learning_rate.rates import best_rate, first_rates, next_rate, parse_rates


def searched(figure: Callable[[float], float | None], centre: float) -> list[float]:
    """All rates of a search, in the order in which they are tried."""
    figures = {rate: figure(rate) for rate in first_rates(centre)}
    while (rate := next_rate(figures, centre)) is not None:
        assert rate not in figures
        figures[rate] = figure(rate)
    return list(figures)


def hill(top: float) -> Callable[[float], float]:
    """More is better up to `top`, then less."""
    return lambda rate: -max(rate / top, top / rate)


@pytest.mark.parametrize("centre", [0.001, 0.016, 0.05, 0.0033333])
@pytest.mark.parametrize("steps", [-2.4, -1.0, 0.0, 0.4, 1.6])
def test_the_best_is_found_to_a_factor_of_two_inside_the_row(centre: float, steps: float) -> None:
    top = centre * 4**steps
    tried = searched(hill(top), centre)
    best = min(tried, key=lambda rate: max(rate / top, top / rate))
    assert max(best / top, top / best) < 2
    assert min(tried) < best < max(tried)


def test_a_row_with_the_best_at_its_end_goes_on_until_it_lies_inside() -> None:
    assert searched(hill(0.25), 0.001)[:7] == [6.25e-05, 0.00025, 0.001, 0.004, 0.016, 0.064, 0.256]
    assert min(searched(hill(1e-6), 0.001)) == pytest.approx(0.001 / 4**5)  # no further than this
    assert max(searched(lambda rate: rate, 0.001)) == pytest.approx(0.001 * 4**5)


def test_level_ground_at_the_low_end_leads_no_further() -> None:
    assert searched(lambda rate: 1.0, 0.001) == [*first_rates(0.001), 0.000125]
    assert min(searched(lambda rate: min(0.001 / rate, 1.0), 0.004)) == 0.00025


def test_where_all_diverge_lower_ones_are_tried() -> None:
    assert max(searched(lambda rate: None, 0.05)) == pytest.approx(0.8)
    assert min(searched(lambda rate: None, 0.05)) == pytest.approx(0.05 / 4**5, rel=1e-4)
    assert best_rate({0.1: None}) is None


def test_of_equal_figures_the_lowest_rate_is_best() -> None:
    assert best_rate({0.1: 0.9, 0.01: 0.9, 1.0: 0.8}) == 0.01


@pytest.mark.parametrize("text", ["", "1e-3,", "fast", "0", "-1e-3", "nan", "inf"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--rates .* no learning rate"):
        parse_rates(text)

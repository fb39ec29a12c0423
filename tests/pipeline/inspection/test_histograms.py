"""Every value is in one range; bars are as long as their counts."""

from __future__ import annotations

import numpy as np

from subspace.pipeline.inspection.histograms import BAR, MOST_RANGES, bars, cosine_histogram


def test_every_cosine_is_in_the_range_that_its_words_say() -> None:
    random = np.random.default_rng(0)
    for low, high in ((-1, 1), (0.2, 0.25), (0.95, 1), (0, 2), (0.5, 0.5)):
        values = random.uniform(low, high, 300).astype(np.float32)
        bins = cosine_histogram(values)
        assert sum(count for _, count in bins) == 300
        assert len(bins) <= MOST_RANGES + 1
        for words, count in bins:
            start, end = (float(word) for word in words.split(" to "))
            inside = (values >= start - 1e-5) & (values < end + 1e-5)
            assert count <= inside.sum()
    assert cosine_histogram(np.zeros(0)) == []


def test_a_cosine_of_one_has_no_range_of_its_own() -> None:
    assert cosine_histogram(np.array([1, np.float32(1) + 1e-7, 0.985], np.float32)) == [
        ("0.98 to 0.99", 1), ("0.99 to 1.00", 2)
    ]  # fmt: skip


def test_bars_are_as_long_as_counts_and_never_nothing() -> None:
    lines = bars([("a", 0), ("b", 1), ("long", 4000)])
    assert [line.count("█") for line in lines] == [0, 1, BAR]
    assert lines[0] == "   a      0"

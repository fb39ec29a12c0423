"""How many values fall in which range, and bars of that in plain text."""

from __future__ import annotations

import numpy as np

Bins = list[tuple[str, int]]
"""Ranges in words, and how many values are in each."""

BAR = 40
"""Characters of the longest bar."""
WIDTHS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Widths of the ranges of cosines: round numbers, so that two histograms are compared by eye."""
MOST_RANGES = 12


def histogram(values: np.ndarray, bins: int = 8) -> Bins:
    """Counts of whole numbers in at most `bins` ranges of equal width.

    >>> histogram(np.array([3, 3, 4]))
    [('3', 2), ('4', 1)]
    """
    if len(values) == 0:
        return []
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // bins)
    counts = np.bincount((values.astype(np.int64) - low) // width)
    labels = [(low + i * width, min(high, low + (i + 1) * width - 1)) for i in range(len(counts))]
    return [
        (f"{a:,}" if a == b else f"{a:,}-{b:,}", int(n)) for (a, b), n in zip(labels, counts, strict=True)
    ]


def cosine_histogram(values: np.ndarray) -> Bins:
    """Counts of cosines in ranges of a round width, the lower bound included, and 1 in the range below it.

    >>> cosine_histogram(np.array([0.31, 0.34, 0.38], np.float32))
    [('0.31 to 0.32', 1), ('0.32 to 0.33', 0), ('0.33 to 0.34', 0), ('0.34 to 0.35', 1), ('0.35 to 0.36', 0), \
('0.36 to 0.37', 0), ('0.37 to 0.38', 0), ('0.38 to 0.39', 1)]
    """
    if len(values) == 0:
        return []
    exact = np.asarray(values, np.float64)
    ranges = (exact.max() - exact.min()) / MOST_RANGES
    width = next((width for width in WIDTHS if width > ranges), WIDTHS[-1])
    place = np.floor(np.round(exact / width, 4)).astype(np.int64)  # 0.31 as float32 is in 0.31 to 0.32
    place[np.abs(exact - 1) < 1e-5] = round(1 / width) - 1  # a cosine of 1 is no range of its own
    first, digits = int(place.min()), 2 if width < 0.1 else 1
    return [
        (f"{(first + i) * width:.{digits}f} to {(first + i + 1) * width:.{digits}f}", int(count))
        for i, count in enumerate(np.bincount(place - first))
    ]


def bars(bins: Bins) -> list[str]:
    """A line of text for each range: the range, how many, and a bar.

    >>> bars([("1", 1), ("2-3", 40)])[0]
    '  1   1 █'
    """
    tallest = max((count for _, count in bins), default=0) or 1
    labels = max((len(label) for label, _ in bins), default=0)
    numbers = max((len(f"{count:,}") for _, count in bins), default=0)
    return [
        f"{label.rjust(labels)}  {count:>{numbers},} {'█' * -(-BAR * count // tallest)}".rstrip()
        for label, count in bins
    ]

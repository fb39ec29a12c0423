"""Unit rows of identities that nobody photographed, for the tests of mining."""

from __future__ import annotations

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def units(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    """float32[n, d], in all directions."""
    return unit(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


def tied_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    """Unit rows of four entries ±1/2: similarities are multiples of 1/4, exact in any order of summation."""
    rows = np.zeros((n, 6), np.float32)
    for row in rows:
        row[rng.choice(6, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return rows


def noisy_identities(
    rng: np.random.Generator, n: int, noise: float = 0.3, d: int = 24
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gallery, its ids, probes, their ids: identities of unequal spread with one gallery image and 1 to 5 probes."""
    means, spread = rng.standard_normal((n, d)), noise * rng.gamma(4, 1, n)
    probe_id = np.repeat(np.arange(n), rng.integers(1, 6, n))

    def images(ids: np.ndarray) -> np.ndarray:
        return unit(means[ids] + spread[ids, None] * rng.standard_normal((len(ids), d)))

    return images(np.arange(n)), np.arange(n), images(probe_id), probe_id

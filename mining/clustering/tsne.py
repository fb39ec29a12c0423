"""A map of identities in two dimensions: t-SNE (van der Maaten, Hinton 2008), exact, for a few thousand points at most.

Shapes: N points, D numbers in each.
"""

from __future__ import annotations

import numpy as np

PERPLEXITY = 20.0
"""About so many neighbours of a point are kept near it; fewer where there are few points."""
STEPS, EXAGGERATED = 400, 120
"""Steps of the descent; the first of them with attraction times `EXAGGERATION`, by which clusters find together."""
EXAGGERATION = 12.0


def tsne_map(rows_ND: np.ndarray) -> np.ndarray:
    """Place points so that near neighbours by cosine lie near each other: float32[N, 2], centred, at most 1 from 0.

    It begins with the two principal components, so that nothing is drawn by lot. Distances between far points, and sizes of
    clusters, mean little. Cost: N² numbers in memory, 20 ms a step at N = 1,500.

    Args:
        rows_ND: float32[N, D], of unit length.

    Example:
        >>> rows = np.eye(2, dtype=np.float32)[[0, 0, 0, 0, 1, 1, 1, 1]]
        >>> place = tsne_map(rows)
        >>> bool(np.ptp(place[:4], axis=0).max() < np.linalg.norm(place[0] - place[4]))
        True
    """
    count = len(rows_ND)
    if count < 4:
        return _scaled(np.stack([np.arange(count), np.zeros(count)], axis=1))
    wanted_NN = _wanted(rows_ND, min(PERPLEXITY, (count - 1) / 3))
    place, speed, gain = _principal(rows_ND) * 1e-4, np.zeros((count, 2)), np.ones((count, 2))
    rate = max(50.0, count / EXAGGERATION / 4)
    for step in range(STEPS):
        early = step < EXAGGERATED
        slope = _slope(wanted_NN, place.astype(np.float32), EXAGGERATION if early else 1.0)
        same = np.sign(slope) == np.sign(speed)
        gain = np.maximum(np.where(same, gain * 0.8, gain + 0.2), 0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gain * slope
        place = place + speed
    return _scaled(place)


def _wanted(rows_ND: np.ndarray, perplexity: float) -> np.ndarray:
    """How near each pair is to be, float32[N, N], summing to 1."""
    distance_NN = np.maximum(0, 2 - 2 * (rows_ND @ rows_ND.T)).astype(np.float64)
    np.fill_diagonal(distance_NN, np.inf)
    distance_NN -= distance_NN.min(axis=1, keepdims=True)  # no point's nearest underflows
    low, high = np.zeros(len(rows_ND)), np.full(len(rows_ND), np.inf)
    narrow, share_NN = np.ones(len(rows_ND)), distance_NN
    for _ in range(50):
        share_NN = np.exp(-distance_NN * narrow[:, None])
        share_NN /= share_NN.sum(axis=1, keepdims=True)
        entropy = -(share_NN * np.log(np.maximum(share_NN, 1e-300))).sum(axis=1)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, narrow, low), np.where(wide, high, narrow)
        narrow = np.where(np.isinf(high), narrow * 2, (low + np.where(np.isinf(high), 0, high)) / 2)
    both_NN = share_NN + share_NN.T
    return (both_NN / both_NN.sum()).astype(np.float32)


def _principal(rows_ND: np.ndarray) -> np.ndarray:
    """The first two principal components, the first with deviation 1; signs so that the same rows give the same."""
    centred = (rows_ND - rows_ND.mean(axis=0)).astype(np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    found = np.pad(centred @ directions[:, :-3:-1], ((0, 0), (0, max(0, 2 - rows_ND.shape[1]))))
    found *= np.where(found[np.abs(found).argmax(axis=0), [0, 1]] < 0, -1, 1)
    return found / max(float(found[:, 0].std()), 1e-12)


def _slope(wanted_NN: np.ndarray, place: np.ndarray, exaggeration: float) -> np.ndarray:
    square = np.einsum("nd,nd->n", place, place)
    near_NN = place @ place.T
    near_NN *= -2
    near_NN += square[:, None] + square
    near_NN += 1
    np.reciprocal(near_NN, out=near_NN)
    np.fill_diagonal(near_NN, 0)
    pull_NN = wanted_NN * exaggeration
    pull_NN -= near_NN / near_NN.sum(dtype=np.float64).astype(np.float32)
    pull_NN *= near_NN
    return 4 * (pull_NN.sum(axis=1)[:, None] * place - pull_NN @ place).astype(np.float64)


def _scaled(place: np.ndarray) -> np.ndarray:
    centred = place - place.mean(axis=0)
    return (centred / max(float(np.abs(centred).max(initial=0)), 1e-12)).astype(np.float32)

"""The worst mistakes against a slow loop over all probes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from subspace.mining.evaluation.mated_probes import MatedProbes
from subspace.mining.evaluation.mistakes import table_of_mistakes, worst_mistakes


def unit(*shape: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow(gallery, gallery_id, probe, probe_id, distractor) -> list[tuple[int, int, float, float]]:
    """The worst probe of each identity: (probe, wrong row, right, wrong), by loops."""
    worst: dict[int, tuple[float, int, int, float, float]] = {}
    for p, (row, owner) in enumerate(zip(probe, probe_id, strict=True)):
        right, best, nearest = 0.0, -2.0, -1
        for g, (other, name) in enumerate(zip(gallery, gallery_id, strict=True)):
            cosine = float(row @ other)
            if name == owner:
                right = cosine
            elif cosine > best:
                best, nearest = cosine, g
        for x, other in enumerate(distractor):
            if float(row @ other) > best:
                best, nearest = float(row @ other), len(gallery) + x
        found = (right - best, p, nearest, right, best)
        if best > right and found < worst.get(owner, (2.0, 0, 0, 0.0, 0.0)):
            worst[owner] = found
    return [found[1:] for found in sorted(worst.values())]


def test_the_worst_of_each_identity_is_that_of_a_loop() -> None:
    gallery, probe, distractor = unit(9, 4, seed=0), unit(30, 4, seed=1), unit(7, 4, seed=2)
    gallery_id, probe_id = np.arange(20, 29), 20 + np.arange(30) % 8
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=distractor)
    wanted = slow(gallery, gallery_id, probe, probe_id, distractor)
    found = worst_mistakes(mated)
    assert found.probe.tolist() == [row[0] for row in wanted]
    assert found.wrong.tolist() == [row[1] for row in wanted]
    np.testing.assert_allclose(found.right_similarity, [row[2] for row in wanted], atol=1e-6)
    np.testing.assert_allclose(found.wrong_similarity, [row[3] for row in wanted], atol=1e-6)
    assert found.probes == 30
    assert len(wanted) <= found.mistaken <= 30
    assert worst_mistakes(mated, most=2).probe.tolist() == found.probe[:2].tolist()


def test_more_pairs_than_allowed_are_a_sample_by_seed() -> None:
    gallery, probe = unit(4, 4, seed=0), unit(40, 4, seed=1)
    mated = MatedProbes.match(gallery, np.arange(4), probe, np.arange(40) % 4)
    some = worst_mistakes(mated, compared=4 * 10, seed=3)
    assert some.probes == 10
    again = worst_mistakes(mated, compared=4 * 10, seed=3)
    assert some.probe.tolist() == again.probe.tolist()


def test_the_table_names_images() -> None:
    rows = np.eye(3, dtype=np.float32)
    mated = MatedProbes.match(rows[:2], [0, 1], rows[[1, 1]], [0, 1], distractors=rows[2:])
    found = worst_mistakes(mated)
    table = table_of_mistakes(
        found, mated, np.array([0, 2]), np.array([1, 3]), np.array([4]),
        np.array([0, 0, 1, 1, 2], np.int32), pa.chunked_array([["ann", "ann", "bob", "bob", "cy"]]),
    )  # fmt: skip
    assert table.to_pylist() == [
        {
            "image_id": 1, "identity_id": 0, "identity": "ann", "right_image_id": 0, "right_similarity": 0.0,
            "wrong_image_id": 2, "wrong_identity_id": 1, "wrong_identity": "bob", "wrong_similarity": 1.0,
        }
    ]  # fmt: skip
    assert table.schema.metadata == {b"probes": b"2", b"mistaken": b"1"}

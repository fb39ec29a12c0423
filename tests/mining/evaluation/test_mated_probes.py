"""Checked embeddings: mates and tiles against loops over every pair, and each kind of wrong input in one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, tied_rows

from subspace.mining.errors import InputError
from subspace.mining.evaluation.mated_probes import MatedProbes


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 12), st.integers(0, 5), st.integers(1, 9))
def test_tiles_hold_every_pair_once_and_no_mate(
    seed: int, n_gallery: int, n_probes: int, n_distractors: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    gallery, probe, distractors = (tied_rows(rng, n) for n in (n_gallery, n_probes, n_distractors))
    gallery_id = rng.permutation(n_gallery) + 10
    probe_id = rng.choice(gallery_id, n_probes)

    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=distractors)

    assert gallery_id[mated.mate].tolist() == probe_id.tolist()
    assert gallery_id[mated.probed_row].tolist() == sorted(set(probe_id))
    assert (mated.probed_row[mated.owner] == mated.mate).all()
    seen = np.full((n_probes, n_gallery + n_distractors), np.nan)
    for rows, start, similarity_BB in mated.impostor_tiles(block, mated.distractor):
        assert max(similarity_BB.shape) <= block
        place = seen[rows, start : start + similarity_BB.shape[1]]
        assert np.isnan(place).all()
        place[:] = similarity_BB
    for p in range(n_probes):
        for g in range(n_gallery):
            own = probe_id[p] == gallery_id[g]
            assert seen[p, g] == (-np.inf if own else probe[p] @ gallery[g])
            if own:
                assert mated.mate_similarity(block)[p] == probe[p] @ gallery[g]
        for x in range(n_distractors):
            assert seen[p, n_gallery + x] == probe[p] @ distractors[x]
    assert mated.impostor_pairs == np.isfinite(seen[:, :n_gallery]).sum()


def test_identities_are_drawn_with_replacement_by_seed() -> None:
    mated = MatedProbes.match(*noisy_identities(np.random.default_rng(0), 50))
    drawn = np.stack(list(mated.identity_weights(400, seed=1)))
    assert drawn.shape == (400, 50)
    assert (drawn.sum(axis=1) == 50).all()
    assert (drawn == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    assert (drawn == np.stack(list(mated.identity_weights(400, seed=1)))).all()
    assert (drawn != np.stack(list(mated.identity_weights(400, seed=2)))).any()


def test_wrong_input_is_told_in_one_line() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(0), 60, d=37)
    n = len(probe)
    broken = probe.copy()
    broken[[3, 8], 0] = np.nan
    cases = [
        ((gallery, gallery_id, broken, probe_id), f"2 of {n} probe embeddings hold NaN or infinity.*row 3"),
        ((2 * gallery, gallery_id, probe, probe_id), "60 of 60 gallery embeddings are not of unit length"),
        ((gallery, gallery_id, probe[:0], probe_id[:0]), "two images, of different groups"),
        ((gallery, gallery_id[1:], probe, probe_id), "60 gallery embeddings but"),
        ((gallery, gallery_id, np.eye(30, dtype=np.float32), np.arange(30)), "30-d but gallery 37-d"),
        ((gallery, gallery_id // 2, probe, probe_id // 2), "60 gallery rows of 30 identities"),
        ((gallery, gallery_id, probe, probe_id + 1), "first: 60"),
        ((gallery[0], gallery_id, probe, probe_id), "one row per image"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message) as error:
            MatedProbes.match(*arguments)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="distractor is 5-d"):
        MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=np.eye(5))
    with pytest.raises(InputError, match="bootstrap is 0"):
        MatedProbes.match(gallery, gallery_id, probe, probe_id).identity_weights(0, seed=0)

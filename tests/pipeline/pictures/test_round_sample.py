"""Subspaces that a report looks at more closely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from subspace.pipeline.pictures.round_sample import RoundSample
from subspace.pipeline.run_directory import RunDirectory


def test_subspaces_are_drawn_whole_by_seed(finished_run: Path) -> None:
    folder = RunDirectory(finished_run).round(1)
    table = pq.read_table(folder.identities)
    means = np.stack(table["mean"].to_numpy())
    home = pq.read_table(folder.subspaces)["subspace_id"].to_numpy()
    every = RoundSample.draw(folder, seed=0)
    assert every.rows.tolist() == list(range(len(means)))
    assert every.in_words() == f"all {len(means)} identities of the {home.max() + 1} subspaces"
    some = RoundSample.draw(folder, seed=0, subspaces=2)
    assert len(some.subspaces) == 2
    assert some.rows.tolist() == np.flatnonzero(np.isin(home, some.subspaces)).tolist()
    assert (some.means == means[some.rows]).all()
    assert some.home.tolist() == home[some.rows].tolist()
    assert some.name(some.rows[0]) == table["identity"][int(some.rows[0])].as_py()
    assert some.in_words().startswith(f"2 of {home.max() + 1} subspaces")
    drawn = {tuple(RoundSample.draw(folder, seed=seed, subspaces=2).subspaces) for seed in range(5)}
    assert len(drawn) > 1


def test_a_subspace_that_is_too_large_is_sampled(finished_run: Path) -> None:
    found = RoundSample.draw(RunDirectory(finished_run).round(1), seed=0, identities=5)
    assert len(found.subspaces) == 1
    assert len(found.rows) == 5
    assert not found.whole
    assert "5 identities, drawn by lot" in found.in_words()

"""Made means take the places of parts that are missing, and every later stage reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from conftest import QUICK, subspace
from made_means import write_missing_parts


def test_an_extraction_takes_them_for_its_own(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    assert subspace("pretrain", run).returncode == 0
    assert subspace("extract", run, "--shard", "0", "--num-shards", "3").returncode == 0
    finished, made = write_missing_parts(run)
    assert finished == 1
    assert made == 2
    for stage in ("extract", "cluster", "plan"):
        done = subspace(stage, run)
        assert done.returncode == 0, done.stderr
    table = pq.read_table(run / "round-000" / "identities.parquet")
    means = np.stack(table["mean"].to_pylist())
    assert len(means) == 48
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, atol=1e-5)
    assert len(np.unique(means, axis=0)) == 48

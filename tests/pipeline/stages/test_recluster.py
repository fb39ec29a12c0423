"""Re-clustering by measured staleness, and from running means instead of an extraction.

Covers pipeline/stages/refresh.py as well.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace


def begin(run: Path, manifest: Path, *settings: str) -> None:
    done = subspace("init", run, "--manifest", manifest, *QUICK, "train.optimizer.lr=0.01", *settings)
    assert done.returncode == 0, done.stderr


def table(run: Path, index: int, name: str) -> dict[str, np.ndarray]:
    read = pq.read_table(run / f"round-{index:03d}" / f"{name}.parquet")
    columns = {field: read[field].combine_chunks() for field in read.column_names}
    return {
        field: np.stack(column.to_numpy(zero_copy_only=False))
        if field == "mean"
        else column.to_numpy(zero_copy_only=False)
        for field, column in columns.items()
    }


def steps_of(run: Path) -> list[int]:
    markers = sorted(run.glob("round-*/done/train.json"))
    return [json.loads(marker.read_text())["summary"]["steps"] for marker in markers]


@pytest.mark.slow
def test_stale_subspaces_end_a_round_and_the_run_keeps_its_steps(
    small_manifest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, "recluster.stale_below=1.0", "recluster.check_every=3")
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    steps = steps_of(run)
    assert sum(steps) == 16
    assert len(steps) > 2
    assert all(taken in (3, 6, 8) for taken in steps[:-1])
    assert "on running means" in done.stdout
    assert "they are stale, the round ends" in done.stdout
    lines = [
        line for path in sorted(run.glob("round-*/metrics.jsonl")) for line in path.read_text().splitlines()
    ]
    metrics = [json.loads(line) for line in lines]
    assert metrics[-1]["lr"] < metrics[0]["lr"]  # one schedule over all rounds
    assert len(pq.read_table(run / f"round-{len(steps) - 1:03d}" / "plan")) == min(8, 16 - sum(steps[:-1]))
    again = subspace("run", run)
    assert again.returncode == 0
    assert again.stdout.count("already done") == 3 + 6 * len(steps)
    status = json.loads(subspace("status", run, "--json").stdout)
    assert {stage["state"] for stage in status} == {"done"}

    shorter = subspace("run", run, "recluster.stale_below=null", "--force")
    assert shorter.returncode == 0, shorter.stderr
    assert "of an earlier, longer run" in shorter.stdout
    assert sorted(json.loads(subspace("run", run, "recluster.stale_below=null", "--json").stdout)) == [
        "round-000",
        "round-001",
        "start",
    ]


@pytest.mark.slow
def test_fresh_subspaces_do_not(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, "recluster.stale_below=0.01", "recluster.check_every=3", "rounds=1")
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert steps_of(run) == [8]
    assert done.stdout.count("on running means") == 2
    assert "stale" not in done.stdout.replace("stale_below", "")


def test_running_means_take_the_place_of_an_extraction(
    small_manifest: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, "recluster.refresh=running", "extract.identities_per_part=10")
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "no image embedded" in done.stdout
    groups = [
        pq.ParquetFile(run / f"round-00{index}" / "identities.parquet").num_row_groups for index in (0, 1)
    ]
    assert groups[0] == groups[1] > 1  # what reads means holds one group at a time
    first, second, fresh = table(run, 0, "identities"), table(run, 1, "identities"), tmp_path / "fresh"
    for name in ("identity_id", "identity", "images"):
        np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_allclose(np.linalg.norm(second["mean"], axis=1), 1, atol=1e-5)
    assert (second["spread"] >= 0).all()

    begin(fresh, small_manifest, "train.optimizer.lr=0.01")
    assert subspace("run", fresh).returncode == 0
    extracted = table(fresh, 1, "identities")
    old, new = (np.sum(means["mean"] * extracted["mean"], axis=1).mean() for means in (first, second))
    assert new > old + 0.01  # they follow the network

    refused = subspace("extract", run, "--round", "1", "--shard", "0", "--num-shards", "2", "--force")
    assert refused.returncode == 2


@pytest.mark.slow
def test_another_way_to_refresh_makes_the_round_stale(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    assert subspace("run", run).returncode == 0
    stale = subspace("run", run, "recluster.refresh=running")
    assert stale.returncode == 3
    assert "recluster.refresh=extract" in stale.stderr
    refused = subspace("extract", run, "--round", "1", "recluster.refresh=running", "--force")
    assert refused.returncode == 2
    assert "no running means" in refused.stderr
    too_many = subspace("plan", run, "--round", "2")
    assert too_many.returncode == 2
    assert too_many.stderr.count("\n") == 1


@pytest.mark.slow
def test_killed_anywhere_running_means_continue_to_the_same_bytes(
    small_manifest: Path, tmp_path: Path
) -> None:
    settings = ("recluster.refresh=running", "recluster.stale_below=1.0", "recluster.check_every=4")
    for name in ("whole", "killed"):
        begin(tmp_path / name, small_manifest, *settings)
    assert subspace("run", tmp_path / "whole").returncode == 0
    kills = 0
    for pattern in ("round-000/resume/step-00000003", "round-000/checkpoint", "round-001/identities.parquet"):
        process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "run", str(tmp_path / "killed"), "--quiet"]
        )
        while process.poll() is None and not list((tmp_path / "killed").glob(pattern)):
            time.sleep(0.002)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    assert subspace("run", tmp_path / "killed").returncode == 0
    names = sorted(
        str(path.relative_to(tmp_path / "whole"))
        for path in (tmp_path / "whole").rglob("*")
        if path.suffix in (".safetensors", ".parquet")
    )
    assert any("running.safetensors" in name for name in names)
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name

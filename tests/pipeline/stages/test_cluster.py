"""`subspace cluster` on real images: bounded sizes, overlap, duplicates, and what it says of itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from sklearn.metrics import adjusted_rand_score

from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.cluster import _in_words, cluster_means
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.round_tables import read_duplicate_trust, read_likely_duplicates


def begin(run: Path, manifest: Path, *settings: str) -> None:
    done = subspace("init", run, "--manifest", manifest, *QUICK, *settings)
    assert done.returncode == 0, done.stderr


def column(run: Path, index: int, name: str, table: str = "subspaces") -> np.ndarray:
    return pq.read_table(run / f"round-{index:03d}" / f"{table}.parquet")[name].to_numpy()


def summary(run: Path, index: int) -> dict[str, float]:
    return json.loads((run / f"round-{index:03d}" / "done" / "cluster.json").read_text())["summary"]


def test_sizes_are_equal_and_the_summary_is_true(finished_run: Path) -> None:
    for index in (0, 1):
        sizes = np.bincount(column(finished_run, index, "subspace_id"))
        assert sizes.tolist() == [12] * 4
        said = summary(finished_run, index)
        assert (said["smallest"], said["largest"], said["subspaces"]) == (12, 12, 4)
        assert said["gain"] == pytest.approx(4 * said["recall@10"])
        assert said["similarity"] == pytest.approx(column(finished_run, index, "similarity").mean(), abs=1e-6)
        assert said["inside"] > said["between"]
    before, after = (column(finished_run, index, "subspace_id") for index in (0, 1))
    assert summary(finished_run, 0)["kept"] is None
    assert summary(finished_run, 1)["kept"] == pytest.approx(adjusted_rand_score(before, after))


@pytest.mark.slow
def test_plain_k_means_is_still_there(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, "cluster.balance=none", "rounds=1")
    assert subspace("run", run).returncode == 0
    assert len(set(np.bincount(column(run, 0, "subspace_id")))) > 1
    assert summary(run, 0)["similarity"] == pytest.approx(summary(run, 0)["plain_similarity"])


def test_overlapping_identities_are_planned_in_both_subspaces(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(
        run,
        small_manifest,
        "cluster.overlap=0.25",
        "cluster.tolerance=0.1",
        "rounds=1",
        "plan.steps=20",
        "plan.P=4",
    )
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "with the overlap" in done.stdout
    query = f"""
        select s.identity_id, s.second_subspace_id, list_distinct(list(p.subspace_id)) homes
        from '{run}/round-000/subspaces.parquet' s
        join '{run}/round-000/plan/*.parquet' p on list_contains(p.identity_ids, s.identity_id)
        where s.second_subspace_id is not null group by all
    """
    rows = duckdb.sql(query).fetchall()
    assert 6 <= len(rows) <= 12
    assert all(second in homes for _, second, homes in rows)
    assert all(len(homes) == 2 for _, _, homes in rows)
    said = summary(run, 0)
    assert said["overlapping_recall"] > said["recall@10"]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [("mixed", "look-alikes are sought among all identities"), ("random", "batches are random")],
)
def test_one_subspace_is_said_with_what_its_batches_will_be(strategy: str, words: str) -> None:
    config = RunConfig.model_validate({"manifest": "m.parquet", "plan": {"strategy": strategy}})
    assert _in_words({}, np.array([30]), config) == [f"one subspace holds all identities: {words}"]


def test_duplicates_of_a_killed_command_are_not_taken_for_those_of_the_next(
    finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    folder = run / "round-000"
    assert (folder / "duplicates.parquet").exists()
    (folder / "done" / "cluster.json").unlink()  # written last, so a killed command leaves none
    cluster_means(Context.open(run, ["cluster.duplicates_within=null"], Options(Console(quiet=True))))
    assert (folder / "done" / "cluster.json").exists()
    assert not (folder / "duplicates.parquet").exists()
    assert read_duplicate_trust(RunDirectory(run).round(0)) is None


def test_identities_under_two_names_are_listed(small_source: Path, tmp_path: Path) -> None:
    rows = pq.read_table(small_source)
    names = rows["identity"].to_pylist()
    train = [name for name, split in zip(names, rows["split"].to_pylist(), strict=True) if split == "train"]
    cut = sorted(set(train))[:8]
    seen: dict[str, int] = {}
    renamed = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        renamed.append(f"{name} alias" if name in cut and seen[name] % 2 else name)
    rows = rows.set_column(rows.schema.get_field_index("identity"), "identity", pa.array(renamed))
    pq.write_table(rows, tmp_path / "aliases.parquet")
    done = subspace("ingest", tmp_path / "aliases.parquet", "--out", tmp_path / "manifest.parquet")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    begin(run, tmp_path / "manifest.parquet", "cluster.ids_per_subspace=all", "rounds=1", "pretrain.steps=40")
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    pairs = pq.read_table(run / "round-000" / "duplicates.parquet").to_pylist()
    found = {tuple(sorted((pair["identity_a"], pair["identity_b"]))) for pair in pairs}
    assert sum((name, f"{name} alias") in found for name in cut) >= 5
    assert f"{len(pairs)} pairs of suspected duplicates" in done.stdout
    judged = read_duplicate_trust(RunDirectory(run).round(0))
    assert judged is not None
    assert ("not yet reliable" in done.stdout) is not judged.reliable
    likely = read_likely_duplicates(RunDirectory(run).round(0), at_most=5).to_pylist()
    assert likely[0] == pairs[0]
    assert len(likely) == 5
    told = subspace("inspect", run / "round-000" / "duplicates.parquet").stdout
    assert pairs[0]["identity_a"] in told
    assert f"{pairs[0]['similarity']:.3f}" in told

    again = subspace("cluster", run, "cluster.duplicates_within=null", "--force")
    assert again.returncode == 0, again.stderr
    assert "suspected duplicates" not in again.stdout
    assert not (run / "round-000" / "duplicates.parquet").exists()

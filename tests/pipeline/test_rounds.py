"""The whole loop: files and their formats, doing nothing twice, staleness, stopping, and being killed.

Covers pipeline/signals.py, pipeline/options.py, pipeline/stages/evaluate.py and pipeline/stages/examination.py as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from conftest import DEMO, QUICK, QUICK_STEPS, subspace
from running_processes import errors_of, wait

from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.evaluate import evaluation_table


def digest(run: Path) -> dict[str, str]:
    """Hashes of everything that must not depend on clocks: tables, plans, checkpoints, evaluations."""
    timeless = [path for path in run.rglob("*") if path.suffix in (".parquet", ".safetensors")]
    for name in ("meta.json", "evaluation.json", "validation.json", "best.json"):
        timeless += run.rglob(name)
    return {
        "best": str((run / "best").readlink()),
        **{
            str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(timeless)
        },
    }


def begin(run: Path, manifest: Path, *settings: str) -> None:
    done = subspace("init", run, "--manifest", manifest, *QUICK, *settings)
    assert done.returncode == 0, done.stderr


def test_layout(finished_run: Path) -> None:
    for folder in ("start", "round-000", "round-001"):
        for name in (
            "plan/part-00000.parquet",
            "checkpoint/model.safetensors",
            "metrics.jsonl",
            "evaluation.json",
            "validation.json",
        ):
            assert (finished_run / folder / name).is_file()
    for name in ("identities.parquet", "subspaces.parquet", "centroids.parquet", "quarantine.parquet"):
        assert (finished_run / "round-001" / name).is_file()
    assert not list(finished_run.rglob("*.tmp"))
    assert not list(finished_run.rglob("resume"))


def test_every_table_says_where_it_comes_from(finished_run: Path) -> None:
    tables = list(finished_run.rglob("*.parquet"))
    assert len(tables) >= 11
    for path in tables:
        metadata = pq.read_metadata(path).metadata
        assert {b"schema_version", b"fingerprint", b"created_by"} <= metadata.keys(), path


def test_duckdb_reads_the_tables_without_us(finished_run: Path) -> None:
    tables = finished_run / "round-000"
    query = f"""
        select s.subspace_id, count(*) as identities, avg(i.spread) as spread
        from '{tables}/subspaces.parquet' s join '{tables}/identities.parquet' i using (identity_id)
        group by s.subspace_id
    """
    rows = duckdb.sql(query).fetchall()
    assert sum(row[1] for row in rows) == 48
    steps = duckdb.sql(
        f"select step, len(identity_ids), len(image_ids) from '{tables}/plan/*.parquet' order by step"
    )
    assert steps.fetchall() == [(step, 8, 16) for step in range(8)]


def test_the_default_method(small_manifest: Path, tmp_path: Path) -> None:
    """Groups and others in a batch, an absolute threshold, and running means for the second round."""
    done = subspace("init", tmp_path / "run", "--manifest", small_manifest, *QUICK_STEPS)
    assert done.returncode == 0, done.stderr
    done = subspace("run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "run" / f"round-{index:03}" for index in (0, 1))
    images = pq.read_table(first / "identities.parquet")["images"].to_pylist()
    assert max(images) == 4
    extracted = json.loads((second / "done" / "extract.json").read_text())
    assert "running" in json.dumps(extracted)
    losses = [json.loads(line)["loss"] for line in (second / "metrics.jsonl").read_text().splitlines()]
    assert losses
    assert all(loss > 0 for loss in losses)


def test_metrics(finished_run: Path) -> None:
    lines = [
        json.loads(line) for line in (finished_run / "round-001" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [1, 3, 5, 7]  # every second
    expected = {"step", "loss", "active_fraction", "d_ap", "d_an", "lr", "images_per_second", "seconds"}
    assert all(expected <= line.keys() for line in lines)
    assert list((finished_run / "round-001" / "tensorboard").glob("events.*"))


def test_a_finished_run_is_done(finished_run: Path) -> None:
    before = digest(finished_run)
    again = subspace("run", finished_run)
    assert again.returncode == 0
    assert again.stdout.count("already done") == 15
    assert digest(finished_run) == before
    status = json.loads(subspace("status", finished_run, "--json").stdout)
    assert {stage["state"] for stage in status} == {"done"}


def test_changed_settings_are_stale(finished_run: Path) -> None:
    stale = subspace("run", finished_run, "plan.K=3")
    assert stale.returncode == 3
    assert stale.stderr.count("\n") == 1
    assert "plan.K=2" in stale.stderr
    assert "--force" in stale.stderr
    status = json.loads(subspace("status", finished_run, "plan.K=3", "--json").stdout)
    assert [stage["state"] for stage in status if stage["stage"] == "plan"] == ["stale", "stale"]


@pytest.mark.slow
def test_force_remakes_and_what_follows_stays_valid(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, "rounds=1")
    assert subspace("run", run).returncode == 0
    before = digest(run)
    done = subspace("cluster", run, "--force")
    assert done.returncode == 0, done.stderr
    assert digest(run) == before
    assert subspace("run", run).stdout.count("already done") == 9


@pytest.mark.slow
def test_stage_by_stage_equals_run(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    assert subspace("pretrain", run).returncode == 0
    for index in ("0", "1"):
        for stage in ("extract", "cluster", "plan", "train"):
            done = subspace(stage, run, "--round", index)
            assert done.returncode == 0, done.stderr
    assert subspace("eval", run).returncode == 0
    assert digest(run) == digest(finished_run)


@pytest.mark.slow
def test_shards_equal_one_extraction(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    assert subspace("pretrain", run).returncode == 0
    first = subspace("extract", run, "--shard", "1", "--num-shards", "2")
    assert first.returncode == 0, first.stderr
    assert subspace("extract", run, "--shard", "0", "--num-shards", "2").returncode == 0
    assert not (run / "round-000" / "identities.parquet").exists()
    parts = (run / "round-000" / "identities.parts").glob("means-*")
    took = sum(float(pq.read_metadata(part).metadata[b"seconds"]) for part in parts)
    assert subspace("extract", run).returncode == 0
    assert json.loads((run / "round-000" / "done" / "extract.json").read_text())["seconds"] >= took > 0
    assert not (run / "round-000" / "identities.parts").exists()
    made, expected = (folder / "round-000" / "identities.parquet" for folder in (run, finished_run))
    assert made.read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_run_force_remakes_what_is_stale_and_nothing_else(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, "rounds=1")
    assert subspace("run", run).returncode == 0
    changed = ("plan.K=3", "train.optimizer.lr=1e-4")
    assert subspace("run", run, *changed).returncode == 3
    done = subspace("run", run, *changed, "--force")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("already done") == 5  # pretrain, validate, eval, extract, cluster
    assert subspace("run", run, *changed).stdout.count("already done") == 9
    stale = subspace("train", run, "plan.steps=9")
    assert stale.returncode == 3
    assert "plan.steps=8" in stale.stderr


def test_another_manifest_is_noticed_by_every_stage(
    finished_run: Path, small_source: Path, tmp_path: Path
) -> None:
    other, source = tmp_path / "other.parquet", tmp_path / "source.parquet"
    pq.write_table(pq.read_table(small_source).drop_columns(["group"]), source)
    assert subspace("ingest", source, "--out", other).returncode == 0
    for stage in ("extract", "plan", "train", "eval"):
        done = subspace(stage, finished_run, f"manifest={other}")
        assert done.returncode == 3, (stage, done.stdout, done.stderr)
        assert "manifest=" in done.stderr


@pytest.mark.slow
def test_without_test_identities_nothing_is_evaluated(small_source: Path, tmp_path: Path) -> None:
    table = pq.read_table(small_source).drop_columns(["split"])
    pq.write_table(table, tmp_path / "source.parquet")
    manifest, run = tmp_path / "m.parquet", tmp_path / "run"
    assert (
        subspace("ingest", tmp_path / "source.parquet", "--out", manifest, "--test-fraction", "0").returncode
        == 0
    )
    begin(run, manifest, "rounds=1", "pretrain.steps=2")
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "nothing is evaluated" in done.stdout
    assert "no validation, so no best round and no early stop" in done.stdout
    assert not (run / "start" / "evaluation.json").exists()
    assert not (run / "start" / "validation.json").exists()
    assert not (run / "best").is_symlink()


def test_a_stop_by_validation_needs_somebody_to_validate_on(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    refused = subspace("run", run, "early_stop.patience=2", "data.val_splits=[nobody]", "--dry-run")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "early_stop.patience=2 has nothing to go by" in refused.stderr
    assert "early_stop.patience=null" in refused.stderr


def test_a_table_says_what_it_rests_on() -> None:
    counts = {"identities": 40, "probes": 80, "genuine_pairs": 80, "impostor_pairs": 3120}
    metrics = {"metrics": {"Rank-1": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    start, later = {**metrics, **counts}, {**metrics, **counts, "unpaired_identities": 3}
    basis = "on 40 identities, 80 probes, 80 genuine and 3,120 impostor pairs"
    table = evaluation_table({"start": start, "round-000": start})
    assert table.splitlines()[-1] == basis
    assert table.count(basis) == 1
    assert evaluation_table({"start": start, "round-000": later}).splitlines()[-2:] == [
        f"start: {basis}",
        f"round-000: {basis}; 3 identities without a pair are distractors only",
    ]


def test_a_rate_of_pairs_has_its_threshold_beside_it() -> None:
    counts = {"identities": 40, "probes": 80, "genuine_pairs": 80, "impostor_pairs": 3120}
    rate = {"value": 0.5, "low": 0.4, "high": 0.6}
    metrics = {"Rank-1": rate, "TAR@FAR=1e-3": {**rate, "far": 1e-3, "threshold": 0.58781}}
    lines = evaluation_table({"start": {"metrics": metrics, **counts}}).splitlines()
    assert lines[2].split("  ")[-1] == "50.0 [40.0, 60.0] > 0.588"
    assert lines[2].count(">") == 1  # Rank-1 has no threshold
    assert lines[3].startswith("> 0.500: the threshold of that rate")


def test_dry_run_writes_nothing(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    before = sorted(run.rglob("*"))
    done = subspace("run", run, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "48 identities" in done.stdout
    assert sorted(run.rglob("*")) == before


def test_a_dry_run_is_one_of_this_run(finished_run: Path, small_source: Path, tmp_path: Path) -> None:
    """It listed all rounds of a finished run as work, and ended with 0 where the run itself ends with 3."""
    done = subspace("run", finished_run, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "done: 15 of 15 stages",
        "left: nothing",
        "dry run: nothing was written",
    ]
    assert "each:" not in done.stdout
    other = tmp_path / "other.parquet"
    assert subspace("ingest", small_source, "--out", other, "--no-group-column").returncode == 0
    for setting in (f"manifest={other}", "plan.steps=9"):
        dry, real = (
            subspace("run", finished_run, setting, "--dry-run"),
            subspace("run", finished_run, setting),
        )
        assert (dry.returncode, real.returncode) == (3, 3)
        assert dry.stderr == real.stderr
    forced = subspace("run", finished_run, "plan.strategy=doppelganger", "--dry-run", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "left: round-000/plan, round-001/plan\n" in forced.stdout
    assert (
        "stale, so made again with all that is made of it: round-000/plan, round-001/plan\n" in forced.stdout
    )


def interrupted(run: Path, number: signal.Signals, seconds: float) -> int:
    """Begin `subspace run`, send it a signal after some seconds, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "subspace.pipeline.cli", "run", str(run), "--quiet"],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, number)
    process.communicate()
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["subspace_softmax", "xbm:multi_similarity", "batch_ohnm + 0.5*oim"])
def test_other_losses_train_and_go_on_in_the_next_round(
    small_manifest: Path, tmp_path: Path, loss: str
) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, f"train.loss={loss}", "pretrain.steps=2")
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert (run / "round-001" / "checkpoint" / "loss.safetensors").exists()


def test_what_killed_commands_left_half_written_is_swept_away(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    half = [
        folder / name
        for folder in (run.path, run.start.path, run.round(0).path)
        for name in (".a.7.tmp", "done/.b.json.7.tmp")
    ]
    for path in half:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with run.locked("run"):
        assert not [path for path in half if path.exists()]


def test_a_killed_command_blocks_nobody(small_manifest: Path, tmp_path: Path) -> None:
    """Its loader workers live on for seconds; the run is free at once."""
    run = tmp_path / "run"
    begin(run, small_manifest, "pretrain.steps=3000", "pretrain.num_workers=2")
    process = subprocess.Popen(
        [sys.executable, "-m", "subspace.pipeline.cli", "pretrain", str(run), "--quiet"],
        start_new_session=True,
    )
    wait((run / "start" / "resume").exists)
    process.kill()
    process.wait()
    after = subspace("init", run, "--manifest", small_manifest, *QUICK, "--force")
    with contextlib.suppress(ProcessLookupError):  # the workers have found out by themselves
        os.killpg(process.pid, signal.SIGKILL)
    assert after.returncode == 0, after.stderr


def test_sigterm_saves_and_exits_4(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    metrics = run / "start" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "subspace.pipeline.cli", "run", str(run), "pretrain.steps=5000"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait(lambda: metrics.exists() and metrics.stat().st_size)
    process.terminate()
    errors = errors_of(process)
    assert process.returncode == 4, errors
    assert "stopped by SIGTERM at step" in errors.splitlines()[-1]
    assert list((run / "start" / "resume").glob("step-*/meta.json"))


KILLED_WHEN_THERE_IS = (
    "start/plan",
    "start/resume/step-*",
    "start/checkpoint",
    "start/done/validate.json",
    "start/done/eval.json",
    "round-000/identities.parts/*.parquet",
    "round-000/identities.parquet",
    "round-000/.plan.*.tmp",
    "round-000/resume/step-00000006",
    "round-000/checkpoint",
    "round-000/validation.json",
    "round-001/subspaces.parquet",
    "round-001/metrics.jsonl",
)


def test_killed_anywhere_it_continues_to_the_same_bytes(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    kills = 0
    for pattern in KILLED_WHEN_THERE_IS:
        process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "run", str(run), "--quiet"],
            start_new_session=True,
        )
        while process.poll() is None and not list(run.glob(pattern)):
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= len(KILLED_WHEN_THERE_IS) - 2  # what is there for an instant only may be missed
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert digest(run) == digest(finished_run)


@pytest.mark.slow
def test_ten_kills_of_the_demo(tmp_path: Path) -> None:
    settings = (
        "seed=3",
        "pretrain.steps=120",
        "plan.steps=120",
        "pretrain.save_every=25",
        "train.save_every=25",
    )
    for name in ("whole", "killed"):
        done = subspace("init", tmp_path / name, "--manifest", DEMO, *settings)
        assert done.returncode == 0, done.stderr
    started = time.monotonic()
    assert subspace("run", tmp_path / "whole").returncode == 0
    seconds = time.monotonic() - started
    chance = random.Random(1)
    moments = [chance.uniform(1.0, seconds / 6) for _ in range(10)]
    kills = sum(
        interrupted(tmp_path / "killed", signal.SIGKILL, moment) == -signal.SIGKILL for moment in moments
    )
    done = subspace("run", tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
    print(f"{kills} of {len(moments)} kills met it alive")
    assert kills >= 8

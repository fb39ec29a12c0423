"""`subspace submit`, `status`, `logs` and `cancel` on a real Slurm of three nodes; everything ends as a local run does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import QUICK
from forked_commands import run_command
from slurm.mini_slurm import MiniSlurm

JOBS = (
    "schedule.job.cpus=1",
    "schedule.job.memory_gb=0.9",
    "schedule.job.hours=0.5",
    "schedule.scheduler=slurm",
)
"""One core for each job, and so one thread, as the local runs have: results are equal to the byte."""


@pytest.fixture(scope="module")
def slurm(can_run_slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniSlurm]:
    """One whose arrays have two tasks at most, so that they have to be split."""
    with MiniSlurm(tmp_path_factory.mktemp("slurm") / "s", max_array_size=2) as started:
        yield started


class Runs:
    """The command line, for runs in one folder, with Slurm at hand."""

    def __init__(self, slurm: MiniSlurm, folder: Path, manifest: Path) -> None:
        self.slurm, self.folder, self.manifest = slurm, folder, manifest

    def subspace(self, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit code."""
        done = run_command(
            [str(word) for word in words], self.folder, {**os.environ, **self.slurm.environment}
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def new(self, name: str, *settings: str) -> Path:
        """Make a run."""
        run = self.folder / name
        self.subspace("init", run, "--manifest", self.manifest, *QUICK, *JOBS, *settings)
        return run

    def submit(self, run: Path, *words: str) -> dict[str, Any]:
        """Submit it, and return what `--json` says."""
        return json.loads(self.subspace("submit", run, "--json", *words).stdout)

    def states(self, run: Path) -> dict[str, dict[str, Any]]:
        """What `subspace status` says of each stage."""
        stages = json.loads(self.subspace("status", run, "--json").stdout)
        return {f"{stage['folder']}/{stage['stage']}": stage for stage in stages}

    def wait(self, run: Path, stage: str, state: str) -> dict[str, Any]:
        """Wait until a stage is in a state."""
        found: dict[str, Any] = {}

        def is_so() -> bool:
            found.update(self.states(run)[stage])
            return found["state"] == state

        self.slurm.wait_until(is_so)
        return found

    def wait_for_end(self) -> None:
        """Wait until Slurm has nothing to do."""
        self.slurm.wait_until(lambda: not self.live())

    def live(self) -> dict[str, str]:
        """The jobs that are queued or running."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL")
        return {number: state for number, state in self.slurm.jobs().items() if state not in ended}

    def node_of(self, number: str) -> str:
        """Where a job runs."""
        return self.slurm.command("squeue", "--noheader", f"--jobs={number}", "--format=%N").stdout.strip()

    def log(self, run: Path) -> str:
        """What all jobs have said, for messages of tests."""
        return "\n".join(path.read_text() for path in sorted(run.glob("jobs/*/logs/*")))


@pytest.fixture
def runs(slurm: MiniSlurm, tmp_path: Path, small_manifest: Path) -> Runs:
    folder = tmp_path / "my 'runs\" é 50%% off a%jb"
    folder.mkdir()
    return Runs(slurm, folder, small_manifest)


def assert_equal_runs(ours: Path, local: Path) -> None:
    """Plans and means are equal to the byte, weights and evaluations to the bit."""
    names = [
        f"round-00{index}/{name}"
        for index in (0, 1)
        for name in ("identities.parquet", "subspaces.parquet", "plan", "checkpoint/model.safetensors")
    ]
    for name in names:
        paths = sorted((local / name).rglob("*.parquet")) if (local / name).is_dir() else [local / name]
        for path in paths:
            there = ours / path.relative_to(local)
            if path.suffix == ".parquet":
                assert pq.read_table(there).equals(pq.read_table(path)), there
            else:
                assert there.read_bytes() == path.read_bytes(), there
    for name in ("start", "round-000", "round-001"):
        for file in ("validation.json", "evaluation.json"):
            values = [json.loads((run / name / file).read_text())["metrics"] for run in (ours, local)]
            assert values[0] == values[1], f"{name}/{file}"
    assert (ours / "best").readlink() == (local / "best").readlink()


def test_the_whole_loop_ends_as_a_local_run(runs: Runs, finished_run: Path) -> None:
    run, other = runs.new("whole loop"), runs.new("other", "schedule.shards_per_job=2")
    said = runs.submit(run)
    assert len(said["jobs"]) == 12
    assert len(said["tasks"]) == 16  # two arrays of three shards
    runs.submit(other)  # two runs at once
    again = runs.subspace("submit", run, code=2)
    assert "jobs queued or running" in again.stderr
    states = runs.states(run)
    assert states["round-001/train"]["state"] == "queued"
    assert "3 shards queued (job " in states["round-001/extract"]["note"]
    runs.wait_for_end()
    for one in (run, other):
        assert {state["state"] for state in runs.states(one).values()} == {"done"}, runs.log(one)
        assert_equal_runs(one, finished_run)
    assert runs.submit(run)["jobs"] == []
    assert "no job has failed" in runs.subspace("logs", run, "--failed").stdout
    logs = runs.subspace("logs", run, "train").stdout
    assert "round-000-train" in logs
    assert "round-001-train" in logs


def test_only_a_failed_shard_is_submitted_again(runs: Runs, finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    table = pq.read_table(runs.manifest)
    for number, row in enumerate(table.select(["identity", "image", "split"]).to_pylist()):
        path = folder / row["identity"] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"])
    manifest = tmp_path / "files.parquet"
    runs.subspace("ingest", folder, "--out", manifest, "--test-fraction", "0.2")
    runs.manifest = manifest
    run = runs.new("failing", "data.on_bad_image=fail")
    runs.subspace("pretrain", run)
    broken = _an_image_of_the_second_part(manifest)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    runs.submit(run)
    runs.wait_for_end()
    extract = runs.states(run)["round-000/extract"]
    assert extract["state"] == "failed", runs.log(run)
    assert "1 shard 1 failed (job " in extract["note"]
    assert runs.states(run)["round-000/cluster"]["state"] == "to do"  # its job was never begun
    failed = runs.subspace("logs", run, "--failed").stdout
    assert str(broken) in failed
    assert failed.count("==") == 1
    assert len(list(run.glob("round-000/identities.parts/means-*"))) == 2
    broken.write_bytes(whole)
    said = runs.submit(run)
    extract_tasks = [number for number, job in said["tasks"].items() if job == "round-000-extract"]
    assert len(extract_tasks) == 1
    runs.wait(run, "round-000/extract", "done")
    log = (run / "jobs" / "002" / "logs" / f"round-000-extract-{extract_tasks[0]}.log").read_text()
    assert "shard 1 of 3 is done" in log
    runs.subspace("cancel", run)


def _an_image_of_the_second_part(manifest: Path) -> Path:
    rows = pq.read_table(manifest, columns=["identity_id", "uri", "split"]).to_pylist()
    trained = sorted({row["identity_id"] for row in rows if row["split"] in ("train", "pretrain")})
    return next(Path(row["uri"]) for row in rows if row["identity_id"] == trained[25])


SLOW = ("plan.steps=150", "train.save_every=10", "train.optimizer.lr=1e-4")
"""A training of several seconds, to be disturbed, in small steps: rounding that differs between numbers of processes
stays small."""


@pytest.fixture(scope="module")
def slow_local_run(tmp_path_factory: pytest.TempPathFactory, small_manifest: Path) -> Path:
    """What a slow run is without Slurm."""
    run = tmp_path_factory.mktemp("local") / "slow"
    command = [sys.executable, "-m", "subspace.pipeline.cli"]
    subprocess.run(
        [*command, "init", run, "--manifest", small_manifest, *QUICK, *SLOW, "rounds=1"], check=True
    )
    subprocess.run([*command, "run", run, "--quiet"], check=True)
    return run


def untrained(runs: Runs, local: Path) -> Path:
    """A slow run, done but for its training."""
    run = runs.folder / "slow run"
    shutil.copytree(local, run, symlinks=True)
    left = (
        "checkpoint",
        "metrics.jsonl",
        "tensorboard",
        *(f"done/{stage}.json" for stage in ("train", "eval", "validate")),
    )
    for path in (run / "round-000" / name for name in left):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return run


def until_training(runs: Runs, local: Path) -> tuple[Path, str]:
    """Such a run, whose training a job has begun; and the job's number."""
    run = untrained(runs, local)
    said = runs.submit(run, *JOBS)
    number = next(number for number, job in said["tasks"].items() if job == "round-000-train")
    runs.slurm.wait_until(lambda: list(run.glob("round-000/resume/step-*[1-9]*")))
    return run, number


def assert_training_is_as(local: Path, run: Path, runs: Runs) -> None:
    name = Path("round-000") / "checkpoint" / "model.safetensors"
    assert (run / name).exists(), runs.log(run)
    assert (run / name).read_bytes() == (local / name).read_bytes()


def test_a_training_near_its_limit_saves_itself_and_goes_on(runs: Runs, slow_local_run: Path) -> None:
    run, number = until_training(runs, slow_local_run)
    runs.slurm.command("scancel", "--batch", "--signal=USR1", number)  # as Slurm does before the time limit
    runs.wait_for_end()
    log = runs.log(run)
    assert "stopped by SIGTERM at step" in log
    assert "resume at step" in log or "continue" in log
    assert_training_is_as(slow_local_run, run, runs)


def test_a_training_outlives_the_controller(runs: Runs, slow_local_run: Path) -> None:
    run, number = until_training(runs, slow_local_run)
    runs.slurm.wait_until_saved(number)
    runs.slurm.kill_controller()
    assert runs.slurm.command("scontrol", "ping").returncode != 0
    runs.slurm.start_controller()
    assert number in runs.live() or (run / "round-000" / "done" / "train.json").exists()
    runs.wait_for_end()
    assert_training_is_as(slow_local_run, run, runs)
    assert {state["state"] for state in runs.states(run).values()} == {"done"}


@pytest.mark.slow  # that of shards is quicker
def test_a_training_whose_node_dies_goes_on_elsewhere(runs: Runs, slow_local_run: Path) -> None:
    run, number = until_training(runs, slow_local_run)
    node = runs.node_of(number)
    runs.slurm.kill_node(node)
    try:
        runs.wait_for_end()
    finally:
        runs.slurm.start_node(node)
    assert_training_is_as(slow_local_run, run, runs)


def test_shards_on_a_node_that_dies_are_made_elsewhere(runs: Runs, finished_run: Path) -> None:
    run = runs.folder / "shards"
    shutil.copytree(finished_run, run, symlinks=True)
    shutil.rmtree(run / "round-001")
    said = runs.submit(run, *JOBS)
    tasks = [number for number, job in said["tasks"].items() if job == "round-001-extract"]
    runs.slurm.wait_until(lambda: [task for task in tasks if runs.live().get(task) == "RUNNING"])
    task = next(task for task in tasks if runs.live().get(task) == "RUNNING")
    node = runs.node_of(task)
    runs.slurm.kill_node(node)
    try:
        runs.wait_for_end()
    finally:
        runs.slurm.start_node(node)
    assert {state["state"] for state in runs.states(run).values()} == {"done"}, runs.log(run)
    assert_equal_runs(run, finished_run)


def test_cancel_keeps_what_is_done(runs: Runs, slow_local_run: Path) -> None:
    run, number = until_training(runs, slow_local_run)
    said = json.loads(runs.subspace("cancel", run, "--json").stdout)
    assert number in said["cancelled"]
    runs.wait_for_end()
    assert "stopped by SIGTERM" in runs.log(run)
    assert runs.states(run)["round-000/train"]["state"] == "failed"
    assert "no job of it is queued or running" in runs.subspace("cancel", run).stdout
    runs.submit(run, *JOBS)
    runs.wait_for_end()
    assert_training_is_as(slow_local_run, run, runs)


def test_two_nodes_train_together(runs: Runs, slow_local_run: Path) -> None:
    run = untrained(runs, slow_local_run)
    runs.submit(run, *JOBS, "schedule.stages.train.nodes=2")
    runs.wait_for_end()
    assert runs.states(run)["round-000/train"]["state"] == "done", runs.log(run)
    losses = [
        [json.loads(line)["loss"] for line in (one / "round-000" / "metrics.jsonl").read_text().splitlines()]
        for one in (run, slow_local_run)
    ]
    assert losses[0][:3] == pytest.approx(losses[1][:3], rel=1e-3)

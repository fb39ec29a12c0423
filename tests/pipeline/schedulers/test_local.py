"""A run as a process in the background, and its states (pipeline/schedulers/job_states.py)."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, subspace
from running_processes import wait

from subspace.mining.errors import InputError, StoppedEarly
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers import local
from subspace.pipeline.schedulers.scheduler import scheduler_named
from subspace.pipeline.schedulers.submission import Submission
from subspace.pipeline.stages.context import Context


def states(run: Path) -> dict[str, dict[str, Any]]:
    stages = json.loads(subspace("status", run, "--json").stdout)
    return {f"{stage['folder']}/{stage['stage']}": stage for stage in stages}


@pytest.fixture
def untrained(finished_run: Path, tmp_path: Path) -> Path:
    """A run whose last training is left, and takes a while."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, symlinks=True)
    shutil.rmtree(run / "round-001" / "checkpoint")
    for name in ("train", "validate", "eval"):
        (run / "round-001" / "done" / f"{name}.json").unlink()
    return run


def test_submitting_locally_does_what_is_left_in_the_background(untrained: Path, finished_run: Path) -> None:
    said = json.loads(subspace("submit", untrained, "--scheduler", "local", "--json").stdout)
    assert said["scheduler"] == "local"
    assert said["jobs"] == ["round-001-train", "round-001-eval"]
    wait(lambda: states(untrained)["round-001/eval"]["state"] == "done", 0.2)
    name = "round-001/checkpoint/model.safetensors"
    wait(lambda: not RunDirectory(untrained).activity()[1])
    assert (untrained / name).read_bytes() == (finished_run / name).read_bytes()
    logs = subspace("logs", untrained)
    assert "round-001/train" in logs.stdout
    assert said["folder"] in logs.stdout
    assert "no job has failed" in subspace("logs", untrained, "--failed").stdout
    assert "nothing is left to do" in subspace("submit", untrained, "--scheduler", "local").stdout


@pytest.mark.slow
def test_a_run_is_submitted_once_at_a_time_and_cancelled(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    long = ("pretrain.steps=100000", "schedule.scheduler=local")
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, *long).returncode == 0
    number = next(iter(json.loads(subspace("submit", run, "--json").stdout)["tasks"]))
    try:
        assert states(run)["start/pretrain"]["state"] == "running"
        assert states(run)["start/pretrain"]["jobs"] == [number]
        second = subspace("submit", run)
        assert second.returncode == 2
        assert f"{run} has 1 job queued or running ({number}); wait" in second.stderr
        wait(lambda: list(run.glob("start/resume/step-*")))
    finally:
        cancelled = subspace("cancel", run)
    assert cancelled.returncode == 0, cancelled.stderr
    wait(lambda: not RunDirectory(run).activity()[1])
    assert "stopped by SIGTERM" in subspace("logs", run).stdout
    assert "no job of it is queued or running" in subspace("cancel", run).stdout


@pytest.mark.slow
def test_a_process_that_failed_says_so(untrained: Path) -> None:
    weights = untrained / "round-000" / "checkpoint" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    refused = subspace("submit", untrained, "--scheduler", "local")
    assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)
    assert "is 100 bytes long" in refused.stderr
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # only its checksum shows it
    submitted = subspace("submit", untrained, "--scheduler", "local")
    assert submitted.returncode == 0, submitted.stderr
    wait(lambda: states(untrained)["round-001/train"]["state"] == "failed", 0.2)
    assert states(untrained)["round-001/eval"]["state"] == "to do"
    failed = subspace("logs", untrained, "--failed").stdout
    assert str(weights.parent) in failed
    assert failed.count("==") == 1


def test_a_process_that_cannot_begin_is_no_submission(untrained: Path) -> None:
    context = Context.open(untrained, options=Options(Console(quiet=True), overrides=("plan.P=none",)))
    with pytest.raises(InputError, match=r"the run ended at once: .*plan\.P.*run\.log"):
        scheduler_named("local").start([], context, lambda: None)
    assert Submission.latest(context.run) is None


def test_a_signal_before_the_process_is_kept_stops_it(
    small_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in a session of its own, where no Ctrl-C reaches it, and nobody would know its number."""
    started: list[subprocess.Popen[Any]] = []

    def start(*arguments: Any, **settings: Any) -> subprocess.Popen[Any]:
        started.append(Popen(*arguments, **settings))
        return started[0]

    def stop(*_: object) -> bool:
        raise StoppedEarly("stopped by SIGINT")

    Popen = subprocess.Popen
    assert subspace("init", tmp_path / "run", "--manifest", small_manifest, *QUICK).returncode == 0
    context = Context.open(tmp_path / "run", options=Options(Console(quiet=True)))
    asleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(local, "this_program", lambda: asleep)
    monkeypatch.setattr(local, "_at_work", stop)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(StoppedEarly):
        scheduler_named("local").start([], context, lambda: None)
    try:
        assert started[0].wait(10) == -signal.SIGTERM
    finally:
        started[0].kill()
    assert Submission.latest(context.run) is None

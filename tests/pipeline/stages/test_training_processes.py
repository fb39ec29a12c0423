"""`--processes N` and torchrun: one training whatever N is, from any folder, through signals and deaths."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import QUICK, subspace
from running_processes import PATIENCE, children, errors_of, start, wait
from safetensors.torch import load_file
from torch import Tensor

STEPS = 60
SETTINGS = [
    *QUICK, "rounds=1", "pretrain.steps=4", f"plan.steps={STEPS}", "train.log_every=5", "train.save_every=10",
    "train.optimizer.lr=1e-4", "train.optimizer.schedule=constant", "train.loss=softmax",
]  # fmt: skip
"""A smooth loss and small steps: rounding that differs between numbers of processes stays small."""


@pytest.fixture(scope="module")
def planned(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose next stage is the training of round 0."""
    run = tmp_path_factory.mktemp("planned") / "run"
    for command in (
        ("init", run, "--manifest", small_manifest, *SETTINGS),
        *((stage, run) for stage in ("pretrain", "extract", "cluster", "plan")),
    ):
        done = subspace(*command)
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def whole(planned: Path) -> Path:
    """The training done by one process without a stop."""
    return trained(planned, planned.parent / "whole", ("--processes", "1"))


def trained(planned: Path, run: Path, *pieces: tuple[str, ...], settings: tuple[str, ...] = ()) -> Path:
    """Train with each of the arguments in turn; all but the last are stopped by SIGTERM after their next save."""
    shutil.copytree(planned, run)
    for number, arguments in enumerate(pieces):
        before = saved(run)
        process = start("train", run, *arguments, *settings)
        if number + 1 < len(pieces):
            wait(lambda before=before: saved(run) not in ([], before))
            process.terminate()
        errors = errors_of(process)
        if number + 1 < len(pieces):
            assert process.returncode == 4, errors
            assert "saved; run the same command to continue" in errors
        else:
            assert process.returncode == 0, errors
    return run


def saved(run: Path) -> list[Path]:
    """States on the way, but for the beginning."""
    return sorted((run / "round-000" / "resume").glob("step-*[1-9]*/meta.json"))


def steps(run: Path) -> list[int]:
    path = run / "round-000" / "metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "round-000" / "checkpoint" / "model.safetensors")


@pytest.mark.slow
def test_any_number_of_processes_goes_on_where_another_stopped(
    planned: Path, whole: Path, tmp_path: Path
) -> None:
    changing = trained(planned, tmp_path / "run", *(("--processes", n) for n in "1241"))
    assert steps(changing) == sorted(set(steps(changing)))
    assert steps(changing)[-1] == STEPS - 1
    for name, expected in weights(whole).items():
        found, before = (
            weights(changing)[name],
            load_file(planned / "start" / "checkpoint" / "model.safetensors")[name],
        )
        if expected.is_floating_point():
            moved = (expected - before).norm()
            assert (found - expected).norm() <= 0.05 * moved + 1e-6, name
        else:
            assert torch.equal(found, expected)
    ends = [
        json.loads((run / "round-000" / "metrics.jsonl").read_text().splitlines()[-1])
        for run in (whole, changing)
    ]
    assert ends[0]["loss"] == pytest.approx(ends[1]["loss"], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["batch_ohnm", "xbm:batch_ohnm + partial_fc"])
def test_four_processes_stopped_and_continued_end_with_the_same_bytes(
    planned: Path, tmp_path: Path, loss: str
) -> None:
    settings = (f"train.loss={loss}", "train.ema=0.9")
    pieces = [("--processes", "4")]
    straight = trained(planned, tmp_path / "straight", *pieces, settings=settings)
    stopped = trained(planned, tmp_path / "stopped", *pieces * 2, settings=settings)
    files = sorted(path.name for path in (straight / "round-000" / "checkpoint").iterdir())
    assert {"model.safetensors", "optimizer.safetensors", "ema.safetensors", "meta.json"} <= {*files}
    for name in files:
        one, other = (run / "round-000" / "checkpoint" / name for run in (straight, stopped))
        assert one.read_bytes() == other.read_bytes(), name


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_all_and_loses_nothing(
    planned: Path, whole: Path, tmp_path: Path, victim: int
) -> None:
    run = tmp_path / "run"
    shutil.copytree(planned, run)
    process = start("train", run, "--processes", "2")
    wait(lambda: saved(run))
    ranks = children(process.pid)
    assert len(ranks) == 2
    os.kill(ranks[victim], signal.SIGKILL)
    killed = time.monotonic()
    errors = errors_of(process)
    assert time.monotonic() - killed < 30
    assert process.returncode == 4
    assert f"process {victim} of 2 was killed (SIGKILL)" in errors.splitlines()[-1]
    assert not [pid for pid in ranks if Path(f"/proc/{pid}").exists()]
    assert saved(run)
    again = subspace("train", run, "--processes", "2")
    assert again.returncode == 0, again.stderr
    assert "resuming at step" in again.stdout
    assert steps(run)[-1] == STEPS - 1


@pytest.mark.slow
def test_a_killed_parent_stops_its_children(planned: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planned, run)
    process = start("train", run, "--processes", "2")
    wait(lambda: saved(run))
    ranks = children(process.pid)
    process.kill()
    process.wait()
    wait(lambda: not [pid for pid in ranks if Path(f"/proc/{pid}").exists()])
    assert saved(run)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at the start", "in training"])
def test_a_scheduler_may_signal_all_processes_before_the_parent_passes_it_on(
    planned: Path, tmp_path: Path, moment: str
) -> None:
    for attempt in range(3):
        run = tmp_path / f"run-{attempt}"
        shutil.copytree(planned, run)
        process = start("train", run, "--processes", "2")
        wait(lambda pid=process.pid: len(children(pid)) == 2)
        if moment == "in training":
            wait(lambda run=run: saved(run))
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, signal.SIGTERM)
        errors = errors_of(process)
        if not (run / "round-000" / "checkpoint").exists():
            break  # otherwise a busy machine has come to the signals when all steps were done
    assert process.returncode == 4, errors
    assert errors.splitlines()[-1].startswith("subspace: stopped by SIGTERM")
    if moment == "in training":
        assert "saved; run the same command to continue" in errors


SHADOWS = ("train.py", "random.py", "mining.py", "torch.py")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["processes", "torchrun"])
def test_a_folder_with_files_of_the_same_names_is_no_trap(
    planned: Path, whole: Path, tmp_path: Path, launcher: str
) -> None:
    run, here = tmp_path / "run", tmp_path / "here"
    shutil.copytree(planned, run)
    here.mkdir()
    for name in SHADOWS:
        (here / name).write_text(f"raise SystemExit('the user's {name} was imported')")
    program = str(Path(sys.executable).with_name("subspace"))
    command = [program, "train", str(run), "--processes", "2"]
    if launcher == "torchrun":
        torchrun = str(Path(sys.executable).with_name("torchrun"))
        command = [
            torchrun,
            "--standalone",
            "--nproc-per-node",
            "2",
            "--no-python",
            program,
            "train",
            str(run),
        ]
    done = subprocess.run([*command, "--json"], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stage"] == "train"
    for name, expected in weights(whole).items():
        torch.testing.assert_close(weights(run)[name], expected, rtol=0.05, atol=1e-3, msg=name)


def test_an_error_is_said_once(planned: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planned, run)
    for arguments, code, message in (
        (("train.lossy=1",), 2, "unknown setting"),
        (("plan.K=3",), 3, "plan.K=2"),
        (("train.optimizer.lr=1e30",), 2, "NaN or infinity"),
    ):
        done = subspace("train", run, "--processes", "2", *arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("subspace:")]) == 1


def test_other_commands_are_not_for_torchrun(planned: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "subspace.pipeline.cli", "run", str(planned)],
        env={**os.environ, "WORLD_SIZE": "2", "RANK": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "start it once, with --processes" in done.stderr


def test_a_launcher_s_processes_start_no_others(planned: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "subspace.pipeline.cli", "train", str(planned), "--processes", "2"],
        env={**os.environ, "WORLD_SIZE": "2", "RANK": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "leave it to the launcher" in done.stderr

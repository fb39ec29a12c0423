"""`subspace-torchrun`: processes on two nodes that are both this machine, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import subspace
from kubernetes_checks import script_on_path
from running_processes import PATIENCE, wait

from subspace.pipeline.stages.training_processes import free_port
from subspace.pipeline.torchrun import exit_code

PROGRAM = Path(sys.executable).with_name("subspace-torchrun")


def nodes(
    count: int, folder: Path, words: str, port: int = 0, late: tuple[int, ...] = (), processes: int = 2
) -> list[subprocess.Popen[str]]:
    """The launchers of `count` nodes with some processes each, of a program in bash; some nodes are not there yet."""
    environment = {**os.environ, **script_on_path(folder / "bin", "work", f"#!/bin/bash\n{words}\n")}
    port = port or free_port()
    return [
        subprocess.Popen(
            [
                PROGRAM, f"--nnodes={count}", f"--nproc-per-node={processes}", "--max-restarts=0", "--rdzv-backend=static",
                f"--rdzv-endpoint=127.0.0.1:{port}", f"--node-rank={node}", "--no-python", "work",
            ],
            env=environment,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for node in range(count) if node not in late
    ]  # fmt: skip


def test_every_process_has_its_rank(tmp_path: Path) -> None:
    for name in ("torch.py", "train.py", "subspace.py"):  # a user's files of the same names are no trap
        (tmp_path / name).write_text("raise SystemExit('imported')")
    running = nodes(2, tmp_path, 'echo "$RANK/$WORLD_SIZE on $GROUP_RANK at $MASTER_ADDR"')
    words = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [0, 0], words
    assert [sorted(word[0].split("\n")[:-1]) for word in words] == [
        [f"{2 * node + rank}/4 on {node} at 127.0.0.1" for rank in range(2)] for node in range(2)
    ]


@pytest.mark.parametrize("code", [4, *(pytest.param(code, marks=pytest.mark.slow) for code in (1, 2, 3))])
def test_it_ends_with_the_code_of_its_processes(tmp_path: Path, code: int) -> None:
    (process,) = nodes(1, tmp_path, f'[ "$RANK" = 0 ] && exit {code}; sleep 60')
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == code, errors
    assert f"subspace-torchrun: the processes of this node ended with {code}" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_process_that_was_killed_is_told_from_one_that_was_wrong(tmp_path: Path) -> None:
    (process,) = nodes(1, tmp_path, '[ "$RANK" = 0 ] && kill -KILL $$; sleep 60')
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGKILL
    assert exit_code([4, -9, 2]) == 2
    assert exit_code([4, -9]) == 137
    assert exit_code([4, -15]) == 4
    assert exit_code([]) == 4


def test_a_signal_reaches_the_processes_and_their_saving_is_waited_for(tmp_path: Path) -> None:
    words = f'trap "sleep 1; echo saved > {tmp_path}/saved-$RANK; exit 4" TERM; echo begun; for _ in {{1..600}}; do sleep 0.1; done'
    (process,) = nodes(1, tmp_path, words)
    assert process.stdout
    assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
    time.sleep(1)  # processes run an instant before torchrun's agent knows of them, and ends them
    process.terminate()
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 4, errors
    assert "Traceback" not in errors
    assert sorted(file.name for file in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]


@pytest.mark.slow
def test_a_signal_before_the_nodes_have_met_ends_it_at_once(tmp_path: Path) -> None:
    port = free_port()
    (process,) = nodes(2, tmp_path, "true", port, late=(1,))
    with socket.socket() as probe:
        wait(lambda: not probe.connect_ex(("127.0.0.1", port)))
    process.terminate()
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 4, errors
    assert errors.endswith("stopped before all nodes had met\n")


@pytest.mark.slow
def test_a_training_on_two_nodes_saves_itself_when_one_is_told_to_stop(
    finished_run: Path, tmp_path: Path
) -> None:
    run, settings = tmp_path / "run", "plan.steps=60 train.log_every=1 train.num_workers=1"
    shutil.copytree(finished_run, run)
    assert subspace("plan", run, "--round", "0", "--force", "plan.steps=60").returncode == 0
    log = run / "round-000" / "metrics.jsonl"
    command = f"exec {PROGRAM.with_name('subspace')} train {run} --round 0 {settings}"

    log.unlink()
    running = nodes(2, tmp_path, f"{command} --force", processes=1)
    wait(lambda: log.exists() and len(log.read_text().splitlines()) > 5)
    running[1].terminate()
    words = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [4, 4], words
    assert "saved; run the same command to continue" in words[0][1]

    running = nodes(2, tmp_path, command, processes=1)
    words = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [0, 0], words
    assert "resuming at step" in words[0][0]
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(60))

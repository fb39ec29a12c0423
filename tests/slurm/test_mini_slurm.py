"""The Slurm that other tests stand on does what a cluster does, deaths and all, and leaves nothing behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from slurm.mini_slurm import MiniSlurm


def submit(slurm: MiniSlurm, work: str, *options: str | Path) -> str:
    """The id of a batch job that runs these lines of bash."""
    done = slurm.command("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={work}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_an_array_runs_each_task(slurm: MiniSlurm, tmp_path: Path) -> None:
    array = submit(slurm, f"touch '{tmp_path}'/$SLURM_ARRAY_TASK_ID", "--array=0-3")
    tasks = [f"{array}_{number}" for number in range(4)]
    slurm.wait_until(lambda: all(slurm.jobs().get(task) == "COMPLETED" for task in tasks))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]


def test_an_array_may_have_as_many_tasks_as_was_said(can_run_slurm: None, tmp_path: Path) -> None:
    with MiniSlurm(tmp_path / "s", max_array_size=4) as slurm:
        assert slurm.jobs() == {}
        array = submit(slurm, "true", "--array=0-3")
        assert {name.split("_")[0] for name in slurm.jobs()} == {array}
        refused = slurm.command("sbatch", "--array=0-4", "--wrap=true")
        assert refused.returncode == 1
        assert "Invalid job array specification" in refused.stderr


def test_a_chain_runs_in_order(slurm: MiniSlurm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = submit(slurm, f"sleep 0.5; echo first >> '{log}'")
    for name in ("second", "third"):
        job = submit(slurm, f"echo {name} >> '{log}'", f"--dependency=afterok:{job}")
    slurm.wait_until(lambda: slurm.jobs()[job] == "COMPLETED")
    assert lines(log) == ["first", "second", "third"]


def test_a_job_behind_a_failed_one_is_cancelled(slurm: MiniSlurm) -> None:
    failing = submit(slurm, "exit 3")
    behind = submit(slurm, "true", f"--dependency=afterok:{failing}", "--kill-on-invalid-dep=yes")
    slurm.wait_until(lambda: slurm.jobs()[behind] == "CANCELLED")
    assert slurm.jobs()[failing] == "FAILED"


@pytest.mark.slow  # test_submit has it too
def test_a_requeued_job_starts_again_within_seconds(slurm: MiniSlurm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    work = "echo ${SLURM_RESTART_COUNT:-0}; [ $SLURM_RESTART_COUNT ] || { scontrol requeue $SLURM_JOB_ID; sleep 60; }"
    job = submit(slurm, work, "--requeue", "--open-mode=append", f"--output={log}")
    slurm.wait_until(lambda: lines(log))
    started = time.monotonic()
    slurm.wait_until(lambda: slurm.jobs()[job] == "COMPLETED")
    assert time.monotonic() - started < 20  # 7 to 10 where the machine is idle
    assert [line for line in lines(log) if line.isdigit()] == ["0", "1"]


def test_a_step_spans_nodes(slurm: MiniSlurm, tmp_path: Path) -> None:
    show = "echo $SLURMD_NODENAME $SLURM_PROCID $SLURM_NTASKS"
    done = slurm.command("srun", "--nodes=3", "bash", "-c", show)
    assert sorted(done.stdout.splitlines()) == ["n1 0 3", "n2 1 3", "n3 2 3"], done.stderr
    log = tmp_path / "log"
    job = submit(slurm, "srun hostname", "--nodes=2", "--ntasks-per-node=2", f"--output={log}")
    slurm.wait_until(lambda: slurm.jobs()[job] == "COMPLETED")
    assert len(lines(log)) == 4


@pytest.mark.slow  # test_submit has it too
def test_a_running_job_outlives_the_controller(slurm: MiniSlurm, tmp_path: Path) -> None:
    go, ended = tmp_path / "go", tmp_path / "ended"
    job = submit(slurm, f"until [ -e '{go}' ]; do sleep 0.1; done; touch '{ended}'")
    slurm.wait_until(lambda: slurm.jobs()[job] == "RUNNING")
    slurm.wait_until_saved(job)
    slurm.kill_controller()
    assert "Unable to contact slurm controller" in slurm.command("squeue").stderr
    go.touch()
    slurm.wait_until(ended.exists)
    slurm.start_controller()
    slurm.wait_until(lambda: slurm.jobs()[job] == "COMPLETED")


@pytest.mark.slow  # test_submit has it too
def test_a_job_of_a_node_that_died_runs_elsewhere(slurm: MiniSlurm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    work = "echo $SLURMD_NODENAME $$ ${SLURM_RESTART_COUNT:-0}; [ $SLURM_RESTART_COUNT ] || srun sleep 300"
    job = submit(slurm, work, "--requeue", "--open-mode=append", f"--output={log}")
    slurm.wait_until(lambda: f"{job}.0" in slurm.command("squeue", "--steps").stdout)
    node, process, count = lines(log)[0].split()
    assert count == "0"
    slurm.kill_node(node)
    assert not is_running(process)
    # Noticed after 17 seconds, and started 7 seconds later.
    slurm.wait_until(lambda: slurm.jobs()[job] != "RUNNING")
    slurm.wait_until(lambda: slurm.jobs()[job] == "COMPLETED")
    slurm.start_node(node)
    assert lines(log)[-1].split()[0] != node
    assert lines(log)[-1].split()[2] == "1"


def test_nothing_is_left_running(can_run_slurm: None, tmp_path: Path) -> None:
    with MiniSlurm(tmp_path / "s") as slurm:
        work = f"srun --nodes=2 sleep 300 & env -i setsid sleep 300 & echo $! > '{tmp_path}/stray'; wait"
        job = submit(slurm, work, "--nodes=2")
        slurm.wait_until(lambda: f"{job}.0" in slurm.command("squeue", "--steps").stdout)
        assert len(mentioning(slurm.folder)) > 5
        stray = lines(tmp_path / "stray")[0]
        assert is_running(stray)
    assert mentioning(slurm.folder) == []
    assert not is_running(stray)


def is_running(process: str) -> bool:
    """Whether a process exists and is not a dead one that nobody has waited for."""
    command = Path("/proc", process, "cmdline")
    return command.exists() and command.read_bytes() != b""


def mentioning(folder: Path) -> list[str]:
    """Processes with this folder in their command line or environment, or as their working folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            texts = [(entry / name).read_text(errors="replace") for name in ("cmdline", "environ")]
            if any(str(folder) in text for text in [*texts, str((entry / "cwd").readlink())]):
                found.append(entry.name)
        except OSError:
            continue
    return found

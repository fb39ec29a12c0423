"""The scripts of pods, run by a real bash with a `subspace` that records its arguments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kubernetes_checks import Pod, pods, script_on_path
from running_processes import PATIENCE

from subspace.pipeline.configuration.schedule_config import ScheduleConfig
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers.jobs import Job
from subspace.pipeline.schedulers.kubernetes_objects import job_object
from subspace.pipeline.schedulers.pod_scripts import SEVERAL

RECORDER = """\
#!/bin/bash
[ "$1" != "${FAILS_AT:-}" ] || exit "$FAILS_WITH"
printf '%s\\0' "${CUDA_VISIBLE_DEVICES:-}" "$@" > "$RECORD/$1-$(date +%s%N)-$$"
"""
"""Leaves a file with its device and its arguments."""

WORKER = """\
#!/bin/bash
trap 'echo saved "$1"; exit 4' TERM
echo begun "$1"
for _ in {1..300}; do sleep 0.1; done
"""
"""Saves itself on SIGTERM."""

HOSTILE = 'it\'s a "räu ber" $(JOB_COMPLETION_INDEX) $$ `x` \\ $HOME *;\n#é'
"""A folder's name, with all that shells and Kubernetes read something into."""


def started(job: Job, config: dict[str, Any], folder: Path) -> list[Pod]:
    """The pods of a job."""
    run = RunDirectory(folder / "run")
    return list(pods(job_object(job, run, ScheduleConfig.model_validate(config), run.path / "jobs" / "001")))


def recorded(job: Job, config: dict[str, Any], folder: Path) -> list[list[tuple[str, ...]]]:
    """Device and arguments of each call of `subspace`, or of subspace-torchrun, in each pod, in order."""
    calls = []
    path = script_on_path(folder / "bin", "subspace", RECORDER)
    script_on_path(folder / "bin", "subspace-torchrun", RECORDER)
    script_on_path(folder / "bin", "given", '#!/bin/bash\n[ "$1" = "a word" ] && shift && exec "$@"\n')
    for pod in started(job, config, folder):
        records = folder / pod.name
        records.mkdir()
        process = pod.start(env={**path, "RECORD": str(records)})
        assert process.communicate(timeout=PATIENCE)[0] == ""
        assert process.returncode == 0
        files = sorted(records.iterdir(), key=lambda file: file.name.split("-", 1)[1])
        calls.append([tuple(file.read_text().split("\0")[:-1]) for file in files])
    return calls


@pytest.mark.parametrize("prefix", [(), ("given", "a word")])
def test_every_argument_arrives_as_it_is(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    run = f"/claim/{HOSTILE}"
    commands = (("extract", run, "model=$(OMP_NUM_THREADS) $$"), ("cluster", run, "a='b c'"))
    setup = ["export NOTED='$$ $(x'", 'test "$NOTED" = "\\$\\$ \\$(x"']
    config = {"prefix": prefix, "setup": setup}
    assert recorded(Job("cluster", "round-000", commands), config, tmp_path) == [
        [("", *command) for command in commands]
    ]
    (tmp_path / "alone").mkdir()
    alone = Job("plan", "round-000", commands[:1])
    assert recorded(alone, config, tmp_path / "alone") == [[("", *commands[0])]]


@pytest.mark.parametrize(
    ("missing", "count", "together"),
    [((0, 1, 2, 3), 4, 1), ((1, 2, 3, 7, 9), 10, 1), ((0, 1, 2, 3, 4), 5, 2), ((1, 3, 5, 6, 7, 12), 13, 4), ((0,), 1, 1)],
)  # fmt: skip
def test_each_missing_shard_is_done_once(
    tmp_path: Path, missing: tuple[int, ...], count: int, together: int
) -> None:
    job = Job("extract", "round-000", (("extract", "/claim/run", "--round", "0"),), missing, count)
    config = {"shards_per_job": together, "stages": {"extract": {"gpus": 2}}}
    calls = recorded(job, config, tmp_path)
    assert [len(pod) for pod in calls[:-1]] == [together] * (len(calls) - 1)
    expected = [("extract", "/claim/run", "--round", "0", "--shard", str(shard), "--num-shards", str(count)) for shard in missing]  # fmt: skip
    assert sorted(call[1:] for pod in calls for call in pod) == sorted(expected)
    for pod in calls:  # side by side on both devices; alone with all that the pod has
        devices = sorted(call[0] for call in pod)
        assert devices == (sorted(str(place % 2) for place in range(len(pod))) if together > 1 else [""])


def test_a_training_on_several_nodes_is_begun_by_torchrun(tmp_path: Path) -> None:
    job = Job("train", "round-000", (("train", "/claim/run"),))
    calls = recorded(job, {"stages": {"train": {"nodes": 2, "gpus": 8}}}, tmp_path)
    host = f"{manifest_name(job, tmp_path)}-node-0-0.{manifest_name(job, tmp_path)}"
    for index, pod in enumerate(calls):
        assert pod[0][1:] == (
            "--nnodes=2", "--nproc-per-node=8", "--max-restarts=0", "--rdzv-backend=static",
            f"--rdzv-endpoint={host}:29500", f"--node-rank={index}", "--no-python", "subspace", "train", "/claim/run",
        )  # fmt: skip


def manifest_name(job: Job, folder: Path) -> str:
    run = RunDirectory(folder / "run")
    config = ScheduleConfig.model_validate({"stages": {"train": {"nodes": 2}}})
    return job_object(job, run, config, run.path / "jobs" / "001")["metadata"]["name"]


@pytest.mark.parametrize(("fails_at", "code"), [("extract", 2), ("extract", 4), ("cluster", 3)])
def test_the_first_failure_is_the_end_and_its_code_that_of_the_pod(
    tmp_path: Path, fails_at: str, code: int
) -> None:
    job = Job("cluster", "round-000", (("extract", "x"), ("cluster", "x")))
    (pod,) = started(job, {}, tmp_path)
    path = script_on_path(tmp_path / "bin", "subspace", RECORDER)
    settings = {"RECORD": str(tmp_path), "FAILS_AT": fails_at, "FAILS_WITH": str(code)}
    process = pod.start(env={**path, **settings})
    process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert len(list(tmp_path.glob("cluster-*"))) == 0


def test_setup_that_fails_is_the_end(tmp_path: Path) -> None:
    (pod,) = started(Job("plan", "round-000", (("plan", "x"),)), {"setup": ["(exit 9)"]}, tmp_path)
    process = pod.start(env=script_on_path(tmp_path / "bin", "subspace", RECORDER))
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 9


def _first_process() -> list[str]:
    """What makes a command the first process of its own pod, or nothing where that is not allowed."""
    for words in (["unshare"], ["unshare", "--user", "--map-root-user"]):
        own = [*words, "--pid", "--fork", "--kill-child"]
        try:
            if subprocess.run([*own, "true"], capture_output=True, check=False).returncode == 0:
                return own
        except FileNotFoundError:
            break
    return []


def test_an_end_that_comes_while_the_work_begins_reaches_it(tmp_path: Path) -> None:
    worker = (
        "#!/bin/bash\ntrap 'exit 4' TERM\nkill -TERM $PPID\nfor _ in {1..50}; do sleep 0.1; done\nexit 7\n"
    )
    slow = SEVERAL.replace("work+=", "sleep 0.3; work+=")
    assert slow != SEVERAL
    env = os.environ | script_on_path(tmp_path / "bin", "subspace", worker)
    assert subprocess.run(["bash", "-ec", f"{slow}run subspace"], env=env, timeout=PATIENCE).returncode == 4


@pytest.mark.parametrize("setup", [[], [":"]])
@pytest.mark.parametrize("under", [[], _first_process()], ids=["plain", "first process"])
@pytest.mark.parametrize(
    ("job", "works"),
    [
        (Job("train", "round-000", (("train", "x"),)), 1),
        (Job("cluster", "round-000", (("extract", "x"), ("cluster", "x"))), 1),
        (Job("extract", "round-000", (("extract", "x"),), (0, 1, 2), 3), 2),
    ],
    ids=["one command", "two commands", "shards side by side"],
)
def test_the_end_of_a_pod_reaches_the_work_and_waits_for_it(
    tmp_path: Path, job: Job, works: int, under: list[str], setup: list[str]
) -> None:
    pod = started(job, {"setup": setup, "shards_per_job": 2}, tmp_path)[0]
    process = pod.start(env=script_on_path(tmp_path / "bin", "subspace", WORKER), under=under)
    assert process.stdout
    words = [process.stdout.readline() for _ in range(works)]
    assert set(words) == {f"begun {job.commands[0][0]}\n"}
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]) if under else process.pid, signal.SIGTERM)
    began = time.monotonic()
    words = process.communicate(timeout=PATIENCE)[0].splitlines()
    assert [word for word in words if not word.startswith("unshare")] == [
        f"saved {job.commands[0][0]}"
    ] * works
    assert process.returncode == 4 or under  # unshare has a word of its own on how its child ended
    assert time.monotonic() - began < 10


def test_a_signal_before_the_work_begins_is_heard(tmp_path: Path) -> None:
    for commands in ((("plan", "x"),), (("extract", "x"), ("cluster", "x"))):
        (pod,) = started(Job("plan", "round-000", commands), {"setup": ["echo up", "sleep 1"]}, tmp_path)
        process = pod.start(env=script_on_path(tmp_path / "bin", "subspace", WORKER))
        assert process.stdout
        process.stdout.readline()
        process.terminate()
        assert process.communicate(timeout=PATIENCE)[0] == ""
        assert process.returncode == 4


def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    shards = Job("extract", "round-000", (("extract", "it's"),), (1, 2, 5, 7), 9)
    two = Job("train", "round-000", (("train", "it's"), ("submit", "it's")))
    scripts = [SEVERAL]
    for config in ({}, {"shards_per_job": 3, "stages": {"train": {"nodes": 2}, "extract": {"gpus": 2}}}):
        scripts += [pod.command[2] for job in (shards, two) for pod in started(job, config, tmp_path)]
    for number, script in enumerate(scripts):
        (tmp_path / f"{number}.sh").write_text(f"#!/bin/bash -e\n{script}")
    done = subprocess.run(
        # 2329: a function of the common part that this job does not call; 2086: a list of numbers is to be split.
        [
            Path(sys.executable).with_name("shellcheck"),
            "--exclude=SC2329,SC2317,SC2086",
            *sorted(tmp_path.glob("*.sh")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""

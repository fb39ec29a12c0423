"""The objects of Kubernetes, and their pods (pipeline/schedulers/pods.py), against the published schemas."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import subspace
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_checks import InvalidError, validate

from subspace.mining.errors import InputError
from subspace.pipeline.configuration.schedule_config import NAME, ScheduleConfig
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers.jobs import Job
from subspace.pipeline.schedulers.kubernetes_objects import object_texts, run_label

BIN = Path(sys.executable).parent

CONFIGS: dict[str, dict[str, Any]] = {
    "one process": {},
    "2 nodes x 8 GPUs": {
        "stages": {"train": {"nodes": 2, "gpus": 8, "cpus": 96, "memory_gb": 900, "hours": 60}, "pretrain": {"processes": 2}}
    },
    "queue": {"kubernetes": {"queue": "team-a", "namespace": "faces", "claim": "disk.of-us", "image": "registry.example.com/subspace:1"}},
    "shards side by side": {"shards_per_job": 4, "stages": {"extract": {"gpus": 2}}, "max_running": 3},
    "setup and prefix": {"setup": ["module load x  ", "", "set -x"], "prefix": ["nice", "-n", "19"]},
    "no limits": {"job": {"hours": 1e9, "memory_gb": 0.5}, "requeues": 0},
}  # fmt: skip
FOLDERS = ("run", 'it\'s a "run" \\ für $(x) $$ 顔 #1', "-", "2024", "x" * 90)


def jobs(path: Path, shards: tuple[int, ...] = (0, 1, 2, 3), count: int = 4) -> list[Job]:
    run, at = str(path), ("--round", "0", "--if-due", "plan.P=8")
    return [
        Job("pretrain", "start", (("pretrain", run),)),
        Job("eval", "start", (("eval", run),)),
        Job("extract", "round-000", (("extract", run, *at),), shards, count),
        Job("cluster", "round-000", (("extract", run, *at), ("cluster", run, *at))),
        Job("plan", "round-000", (("plan", run, *at),)),
        Job("train", "round-000", (("train", run, *at), ("submit", run))),
    ]


def documents(config: dict[str, Any], path: Path = Path("/claim/run"), **shards: Any) -> list[dict[str, Any]]:
    """The manifests as `kubectl` would read them."""
    config = ScheduleConfig.model_validate(config)
    texts = object_texts(jobs(path, **shards), RunDirectory(path), config, path / "jobs" / "001")
    return [yaml.safe_load(text) for text in texts.values()]


def pod(document: dict[str, Any]) -> dict[str, Any]:
    """The specification of its pods."""
    job = document["spec"]
    job = job["replicatedJobs"][0]["template"]["spec"] if "replicatedJobs" in job else job
    return job["template"]["spec"]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_manifest_is_valid(config: dict[str, Any], folder: str) -> None:
    path = Path("/claim") / folder
    for missing in (tuple(range(40)), (3, 4, 7, 39)):
        found = documents(config, path, shards=missing, count=40)
        assert len(found) == len(jobs(path))
        for document in found:
            validate(document)
            assert document["metadata"]["annotations"] == {"subspace.run/path": str(path)}


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dictionaries(inner)


FREE = {"labels", "annotations", "requests", "limits"}
"""Keys whose values have keys of anybody's choice."""


@pytest.mark.parametrize("kind", ["Job", "JobSet"])
def test_a_misspelt_field_is_not_valid_wherever_it_is(kind: str) -> None:
    whole = next(one for one in documents(CONFIGS["2 nodes x 8 GPUs"]) if one["kind"] == kind)
    free = [found for one in _dictionaries(whole) for key, found in one.items() if key in FREE]
    places = [place for place in _dictionaries(whole) if not any(place is one for one in free)]
    assert len(places) > 15
    for number, _ in enumerate(places):
        broken = copy.deepcopy(whole)
        free = [found for one in _dictionaries(broken) for key, found in one.items() if key in FREE]
        place = [place for place in _dictionaries(broken) if not any(place is one for one in free)][number]
        place["terminationGracePeriod"] = 30
        with pytest.raises(InvalidError):
            validate(broken)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "backoffLimit"), "many"),
        (("spec", "template", "spec", "containers"), {}),
        (("spec", "template"), "none"),
    ],
)
def test_a_value_of_another_type_is_not_valid(path: tuple[str, ...], value: object) -> None:
    broken = documents({})[0]
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidError):
        validate(broken)


def test_what_the_jobs_ask_for() -> None:
    found = {
        document["metadata"]["labels"]["subspace.job"]: document
        for document in documents(CONFIGS["2 nodes x 8 GPUs"])
    }
    train, plan = found["round-000-train"], found["round-000-plan"]
    assert [one["kind"] for one in found.values()] == ["JobSet", "Job", "Job", "Job", "Job", "JobSet"]
    assert train["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == 2
    asked = {"cpu": "96", "memory": "921600Mi", "nvidia.com/gpu": "8"}
    (container,) = pod(train)["containers"]
    assert container["resources"] == {"requests": asked, "limits": asked}
    assert {"name": "OMP_NUM_THREADS", "value": "12"} in container["env"]
    assert pod(train)["activeDeadlineSeconds"] == 60 * 3600
    assert pod(train)["terminationGracePeriodSeconds"] > 120  # save_seconds
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory"}} in pod(train)["volumes"]
    assert [volume["name"] for volume in pod(plan)["volumes"]] == ["runs"]
    assert container["volumeMounts"][0] == {"name": "runs", "mountPath": "/claim"}
    unlimited = documents(CONFIGS["no limits"])
    for document in unlimited:  # loader processes need none, and it would count as memory of the container
        gpus = "nvidia.com/gpu" in pod(document)["containers"][0]["resources"].get("limits", {})
        assert ("shared-memory" in [volume["name"] for volume in pod(document)["volumes"]]) == gpus
    assert pod(unlimited[0])["activeDeadlineSeconds"] == 2**31 - 1  # as the API server has it


def test_shards_are_indices() -> None:
    extract = documents(CONFIGS["shards side by side"], shards=(0, 3, 4, 5, 8, 9), count=10)[2]["spec"]
    assert (extract["completionMode"], extract["completions"], extract["parallelism"]) == ("Indexed", 2, 2)
    extract = documents({"max_running": 3}, shards=tuple(range(9)), count=9)[2]["spec"]
    assert (extract["completions"], extract["parallelism"], extract["backoffLimitPerIndex"]) == (9, 3, 50)


def test_what_is_tried_again() -> None:
    """The first rule that matches a pod decides; none: another attempt."""
    for document in documents(CONFIGS["2 nodes x 8 GPUs"]):
        several = document["kind"] == "JobSet"
        job = document["spec"]["replicatedJobs"][0]["template"]["spec"] if several else document["spec"]
        eviction, given_up = job["podFailurePolicy"]["rules"]
        assert eviction["action"] == ("Count" if several else "Ignore")
        assert given_up["action"] == "FailJob"
        assert {2, 3} <= set(given_up["onExitCodes"]["values"])
        assert not {4, 137, 143} & set(given_up["onExitCodes"]["values"])
        assert pod(document)["restartPolicy"] == "Never"
        if several:
            (rule,) = document["spec"]["failurePolicy"]["rules"]
            assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
            assert document["spec"]["failurePolicy"]["maxRestarts"] == 50


@given(st.text(min_size=1).filter(lambda name: "/" not in name and "\0" not in name))
def test_names_are_names_whatever_the_run_is_called(name: str) -> None:
    label = run_label(RunDirectory(Path("/claim") / name))
    longest = f"{label}-001-round-000-extract-99999-abcde"
    assert NAME.fullmatch(label)
    assert label[0].isalpha()
    assert NAME.fullmatch(longest), len(longest)
    assert NAME.fullmatch(f"{label}-001-round-000-train-node-0-999-abcde")


def test_runs_of_the_same_name_have_names_of_their_own() -> None:
    assert run_label(RunDirectory(Path("/a/photos"))) != run_label(RunDirectory(Path("/b/photos")))


@pytest.mark.parametrize(
    ("config", "path", "message"),
    [
        ({"kubernetes": {"mount": "/other"}}, "/claim/run", "/claim/run is not below"),
        ({"kubernetes": {"mount": "claim"}}, "/claim/run", "claim cannot be mounted"),
        ({}, "/run", "/ cannot be mounted"),
        ({}, "/a:b/run", "without ':'"),
        ({}, "/claim/\udcff", "no UTF-8"),
    ],
)
def test_what_cannot_be_is_said(config: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        documents(config, Path(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "setting", ["namespace=My_Team", "queue=a/b", "claim=", "image='a b'", "namespace=" + "x" * 64]
)
def test_names_that_are_none_are_refused(finished_run: Path, setting: str) -> None:
    done = subspace("submit", finished_run, "--scheduler", "kubernetes", f"schedule.kubernetes.{setting}")
    assert done.returncode == 2
    assert f"schedule.kubernetes.{setting.split('=')[0]}" in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""`subspace submit --scheduler kubernetes`, and apply.sh on a cluster that is this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import QUICK, subspace
from kubernetes_checks import script_on_path, validate

BIN = Path(sys.executable).parent
FAKE = Path(__file__).resolve().parents[2] / "fake_kubectl.py"


@pytest.fixture
def run(small_manifest: Path, tmp_path: Path) -> Path:
    """A run with nothing done, and a name that is hard to quote."""
    path = tmp_path / "it's ein Läufer"
    settings = [
        *QUICK,
        "rounds=1",
        "schedule.scheduler=kubernetes",
        "schedule.stages={train: {processes: 2}}",
    ]
    done = subspace("init", path, "--manifest", small_manifest, *settings)
    assert done.returncode == 0, done.stderr
    return path


def applied(script: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What a person does: start apply.sh, from anywhere."""
    path = script_on_path(tmp_path / "bin", "kubectl", f'#!/bin/bash\nexec {sys.executable} {FAKE} "$@"\n')
    folders = f"{BIN}{os.pathsep}{path['PATH']}"
    return subprocess.run(
        [script],
        env={**os.environ, "PATH": folders, "FAKE_CLUSTER": str(tmp_path / "cluster.json")},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_dry_run_shows_what_would_be_written(run: Path) -> None:
    shown = subspace("submit", run, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert not (run / "jobs").exists()
    documents = list(yaml.safe_load_all(shown.stdout))
    assert len(documents) == shown.stdout.count("\n---\n") + 1
    for document in documents:
        validate(document)
    names = [document["metadata"]["labels"]["subspace.job"] for document in documents]
    for number, name in enumerate(names, start=1):
        after = f", once {names[number - 2]} is complete" if number > 1 else ""
        assert f"# {number} of {len(names)}: {name}{after}\n" in shown.stdout
    done = subspace("submit", run)
    assert done.returncode == 0, done.stderr
    files = sorted((run / "jobs" / "001").glob("*.yaml"))
    assert [file.name for file in files] == [
        f"{place:02d}-{name}.yaml" for place, name in enumerate(names, 1)
    ]
    assert "---\n".join(file.read_text() for file in files) in shown.stdout


@pytest.mark.slow
def test_applying_the_manifests_does_the_whole_run(run: Path, tmp_path: Path) -> None:
    overrides = ["train.optimizer.lr=0.0001", "plan.steps=3"]
    done = subspace("submit", run, "--json", *overrides)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    submission = json.loads((run / "jobs" / "001" / "submission.json").read_text())
    assert submission["scheduler"] == "kubernetes"
    assert [task["job"] for task in submission["tasks"]] == answer["jobs"]

    done = applied(run / "jobs" / "001" / "apply.sh", tmp_path)
    logs = "\n".join(log.read_text() for log in sorted((run / "jobs" / "001").glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    statuses = json.loads(subspace("status", run, *overrides, "--json").stdout)
    assert {stage["state"] for stage in statuses} == {"done"}
    meta = json.loads((run / "round-000" / "checkpoint" / "meta.json").read_text())
    assert meta["step"] == 3
    assert "nothing is left to do" in subspace("submit", run, *overrides).stdout
    again = applied(run / "jobs" / "001" / "apply.sh", tmp_path)  # nothing is done twice
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_job_that_fails_ends_the_order_and_is_named(run: Path, tmp_path: Path) -> None:
    assert subspace("submit", run).returncode == 0
    config = run / "subspace.yaml"
    config.write_text(config.read_text().replace("seed:", "sead:", 1))
    done = applied(run / "jobs" / "001" / "apply.sh", tmp_path)
    assert done.returncode == 1
    assert "start-pretrain failed; what it said: kubectl logs" in done.stdout
    assert "cluster" not in done.stdout
    config.write_text(config.read_text().replace("sead:", "seed:", 1))

    for command, where in (("logs", "stderr"), ("cancel", "stderr"), ("status", "stdout")):
        said = getattr(subspace(command, run), where)
        assert "kubectl get jobs,jobsets,pods --namespace default --selector subspace.run=it-s-ein" in said
    (tmp_path / "cluster.json").unlink()
    assert subspace("submit", run).returncode == 0
    assert len(list((run / "jobs" / "002").glob("*.yaml"))) == len(
        list((run / "jobs" / "001").glob("*.yaml"))
    )


def test_rounds_that_follow_are_applied_too(run: Path, tmp_path: Path) -> None:
    """Where subspaces may turn stale the last job submits what is left; apply.sh goes on with that."""
    done = subspace("submit", run, "recluster.refresh=running", "recluster.stale_below=0.5")
    assert done.returncode == 0, done.stderr
    folder = run / "jobs" / "001"
    script = (folder / "apply.sh").read_text()
    assert script.endswith("[ ! -e ../002/apply.sh ] || exec ../002/apply.sh\n")
    following = run / "jobs" / "002"
    following.mkdir()
    (following / "apply.sh").write_text("#!/bin/bash\necho the second\n")
    (following / "apply.sh").chmod(0o755)
    lines = [line for line in script.splitlines() if not line.startswith("job ")]
    (folder / "apply.sh").write_text("\n".join(lines))
    assert applied(folder / "apply.sh", tmp_path).stdout == "the second\n"


def test_a_manifest_that_no_pod_sees_is_said(run: Path, small_manifest: Path) -> None:
    assert f"{small_manifest} is not below {run.parent}" in subspace("submit", run, "--dry-run").stdout
    above = Path(os.path.commonpath([run, small_manifest]))
    shown = subspace("submit", run, "--dry-run", f"schedule.kubernetes.mount={above}").stdout
    assert "is not below" not in shown
    assert f"mountPath: {above}\n" in shown


def test_shellcheck_has_nothing_to_say_of_apply_sh(run: Path) -> None:
    assert subspace("submit", run).returncode == 0
    script = run / "jobs" / "001" / "apply.sh"
    done = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, check=False)
    assert done.stdout == ""

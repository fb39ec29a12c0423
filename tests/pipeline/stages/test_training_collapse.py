"""A real collapse (hardest negative only, high learning rate, no batch norm) on real images, and what is done.

Covers pipeline/stages/training.py as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import QUICK, subspace

PLAIN_NETWORK = """
from torch import nn

def plain():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 64, 32),
    )
    network.input_size, network.embedding_size = 32, 32
    return network
"""
"""Batch norm at the end of a network hides collapse: it spreads whatever comes."""

PROVOKED = [
    "rounds=1", "pretrain.steps=0", "cluster.ids_per_subspace=all", "plan.steps=200", "plan.P=24", "plan.K=4",
    "train.loss_args.batch_ohnm.negatives=1", "train.optimizer.lr=0.5", "train.optimizer.schedule=constant",
    "train.optimizer.warmup_steps=0", "train.save_every=60", "train.log_every=10",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the network's module lies and the runs go."""
    folder = tmp_path_factory.mktemp("collapse")
    (folder / "plain_network.py").write_text(PLAIN_NETWORK)
    return folder


def begin(folder: Path, name: str, manifest: Path, *settings: str) -> None:
    model = "python:plain_network:plain"
    done = subspace(
        "init", name, "--manifest", manifest, "--model", model, *QUICK, *PROVOKED, *settings, cwd=folder
    )
    assert done.returncode == 0, done.stderr


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "round-000" / "metrics.jsonl").read_text().splitlines()]


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in (done.stdout + done.stderr).splitlines() if "embeddings collapse" in line]


@pytest.fixture(scope="module")
def softened(folder: Path, small_manifest: Path) -> subprocess.CompletedProcess[str]:
    begin(folder, "softened", small_manifest)
    return subspace("run", "softened", cwd=folder)


@pytest.mark.slow
def test_the_collapse_is_real_and_softening_recovers_it(
    folder: Path, small_manifest: Path, softened: subprocess.CompletedProcess[str]
) -> None:
    begin(folder, "warned", small_manifest, "train.collapse.action=warn", "plan.steps=120")
    # Left alone, it may get out by itself: from step 150 on one processor, later than 200 on another.
    warned = subspace("run", "warned", cwd=folder)
    assert warned.returncode == 4, warned.stderr
    assert len(said(warned)) >= 2
    last = warned.stderr.splitlines()[-1]
    assert "round-000/train is not done: its embeddings collapsed" in last
    again = subspace("run", "warned", cwd=folder)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (4, last)
    as_it_is = subspace("train", "warned", "train.collapse.action=off", "--json", cwd=folder)
    assert as_it_is.returncode == 0, as_it_is.stderr
    assert json.loads(as_it_is.stdout)["summary"]["collapses"] >= 2
    at_step_100 = lines(folder / "warned")[9]
    assert at_step_100["step"] == 99
    assert at_step_100["d_all"] < 0.1
    assert at_step_100["loss"] == pytest.approx(0.3, rel=0.05)

    assert softened.returncode == 0, softened.stderr
    assert "on with 10 negatives instead of 1" in said(softened)[0]
    assert len(said(softened)) <= 3
    left_alone, recovered = (lines(folder / name)[-1] for name in ("warned", "softened"))
    assert recovered["d_all"] > max(1, 2 * left_alone["d_all"])
    assert recovered["loss"] < min(0.2, left_alone["loss"] - 0.05)


@pytest.mark.slow
def test_stopped_it_exits_4_and_goes_on_softened(folder: Path, small_manifest: Path) -> None:
    begin(folder, "stopped", small_manifest, "train.collapse.action=stop")
    for _ in range(2):  # the same command comes to the same end
        stopped = subspace("run", "stopped", cwd=folder)
        assert stopped.returncode == 4, stopped.stderr
        assert len(said(stopped)) == 1
        assert stopped.stderr.splitlines()[-1] == said(stopped)[0]
    done = subspace("run", "stopped", "train.collapse.action=soften", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert lines(folder / "stopped")[-1]["d_all"] > 1


BLIND_NETWORK = """
from torch import nn

class Blind(nn.Module):
    input_size, embedding_size = 32, 32

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 32)
        nn.init.zeros_(self.linear.weight)

    def forward(self, images):
        return self.linear(images.flatten(1) * 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["multi_similarity", "batch_ohnm", "softmax"])
def test_a_network_that_tells_nothing_apart_is_never_trained(
    folder: Path, small_manifest: Path, loss: str
) -> None:
    (folder / "blind_network.py").write_text(BLIND_NETWORK)
    settings = [
        "pretrain.steps=0",
        "rounds=1",
        "plan.steps=12",
        f"train.loss={loss}",
        "train.collapse.window=3",
    ]
    done = subspace(
        "init", loss, "--manifest", small_manifest, "--model", "python:blind_network:Blind", *QUICK, *settings,
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = subspace("run", loss, cwd=folder)
    assert done.returncode == 4, done.stderr
    assert "the embeddings are one point" in done.stdout
    assert done.stderr.count("\n") == 1
    assert not (folder / loss / "round-000" / "done" / "train.json").exists()


@pytest.mark.slow
def test_stopped_in_between_it_ends_with_the_same_bytes(
    folder: Path, small_manifest: Path, softened: subprocess.CompletedProcess[str]
) -> None:
    begin(folder, "cut", small_manifest)
    stops = 0
    for step in (30, 100, 150):
        process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "run", "cut", "--quiet"],
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        metrics = folder / "cut" / "round-000" / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and _last_step(metrics) >= step):
            time.sleep(0.005)
        process.terminate()
        stops += process.wait() == 4
    assert stops >= 2
    assert subspace("run", "cut", cwd=folder).returncode == 0
    ends = [
        (folder / name / "round-000" / "checkpoint" / file).read_bytes()
        for name in ("softened", "cut")
        for file in ("model.safetensors", "meta.json")
    ]
    assert ends[:2] == ends[2:]


def _last_step(metrics: Path) -> int:
    text = metrics.read_text()
    whole = text[: text.rfind("\n") + 1].splitlines()
    return json.loads(whole[-1])["step"] if whole else -1

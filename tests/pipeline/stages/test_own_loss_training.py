"""`subspace train` with losses from elsewhere: stopped, it goes on to the same bytes; what is wrong is told.

Covers train/losses/own_losses.py, too.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import subspace

CODE = """
import torch

class Centres(torch.nn.Module):
    def __init__(self, num_classes, embedding_size, pull=1.0):
        super().__init__()
        self.pull = pull
        self.centre = torch.nn.Parameter(torch.randn(num_classes, embedding_size))

    def forward(self, embeddings, labels):
        noise = torch.rand(len(embeddings), 1)
        return self.pull * ((embeddings - self.centre[labels]).square() * noise).mean()

class Late(Centres):
    def forward(self, embeddings, labels):
        return helper(labels)

class Plain(torch.nn.Module):
    def forward(self, embeddings, labels):
        return embeddings.sum()

def helper(labels):
    raise ValueError(f"no loss of {len(labels)} images")
"""
OWN = "python:users_training_losses:Centres"
PML = "pml:TripletMarginLoss"
TOGETHER = (f"train.loss={OWN} + 0.5*{PML}", f"train.loss_args.{OWN}.pull=2.0", f"train.loss_args.{PML}.margin=0.2",
            f"train.loss_args.{PML}.miner=BatchHardMiner")  # fmt: skip


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (tmp_path / "users_training_losses.py").write_text(CODE)
    return run


@pytest.mark.slow
def test_a_training_is_the_same_bytes_again_and_after_a_stop(run: Path, tmp_path: Path) -> None:
    folder = run / "round-000"
    words = ("train", run, "--round", "0", *TOGETHER, "train.keep_last=5")
    done = subspace(*words, "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = {path.name: path.read_bytes() for path in (folder / "checkpoint").glob("*.safetensors")}
    marker = json.loads((folder / "done" / "train.json").read_text())
    assert marker["fields"]["train.loss"] == f"{OWN} + 0.5*{PML}"
    assert marker["fields"][f"train.loss_args.{OWN}.pull"] == 2.0
    assert marker["fields"][f"train.loss_args.{PML}.miner"] == "BatchHardMiner"
    assert any(b"centre" in content for content in whole.values())

    (folder / "done" / "train.json").unlink()
    shutil.rmtree(folder / "checkpoint")
    states = sorted((folder / "resume").iterdir())
    for state in states:
        if state.name != "step-00000003":
            shutil.rmtree(state)
    resumed = subspace(*words, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "round-000/train: resuming at step 3 of 8" in resumed.stdout
    again = {path.name: path.read_bytes() for path in (folder / "checkpoint").glob("*.safetensors")}
    assert again == whole

    stale = subspace("train", run, "--round", "0", f"train.loss_args.{OWN}.pull=3.0", cwd=tmp_path)
    assert stale.returncode == 3
    assert f"train.loss_args.{OWN}.pull=2.0, now it is 3.0" in stale.stderr


def test_the_users_error_shows_the_users_lines(run: Path, tmp_path: Path) -> None:
    name = "python:users_training_losses:Late"
    done = subspace("train", run, "--round", "0", "--force", f"train.loss={name}", cwd=tmp_path)
    assert done.returncode == 2
    *trace, last = done.stderr.strip().splitlines()
    files = [line for line in trace if line.startswith("  File")]
    assert len(files) == 2
    assert all("users_training_losses.py" in line for line in files)
    assert last.startswith(f"subspace: {name} raised ValueError: no loss of ")


def test_a_run_refuses_at_its_start_what_its_training_would(run: Path, tmp_path: Path) -> None:
    for settings, message in (
        (["train.loss=python:users_training_losses:gone"], "has no 'gone'"),
        (["train.loss=pml:TripletMarginLos"], "did you mean pml:TripletMarginLoss?"),
        ([f"train.loss={PML}", f"train.loss_args.{PML}.foo=3"], "unexpected keyword argument 'foo'"),
        (["train.loss=xbm:python:users_training_losses:Plain"], "a memory cannot serve"),
        (["train.augment.functions=[python:nope:f]"], "cannot import 'nope'"),
    ):
        done = subspace("run", run, *settings, "--dry-run", cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1

"""The examples in `examples/` run, learn, and stay short."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY

from subspace.mining import Manifest
from subspace.pipeline.stages.training_processes import free_port
from subspace.train import BatchOHNMLoss, ImageStore, PlanBatchSampler, build_backbone

EXAMPLES = REPOSITORY / "examples"


def run_example(name: str, *arguments: str | Path, processes: int = 1) -> list[str]:
    """What an example prints of its steps."""
    torchrun = [
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={processes}",
        f"--master-port={free_port()}",
    ]
    command = [sys.executable, *(torchrun if processes > 1 else []), EXAMPLES / name, *arguments]
    without_cuda = {"CUDA_VISIBLE_DEVICES": ""}
    if not torch.backends.cuda.is_built():  # Lightning imports torchvision where it is installed
        without_cuda["PYTHONPATH"] = str(REPOSITORY / "tests" / "torchvision_without_cuda")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **without_cuda}
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("step ")]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short_and_use_public_names(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("subspace"):
            assert node.module in ("subspace", "subspace.mining", "subspace.train")


def test_own_loop(small_manifest: Path) -> None:
    losses = [float(line.split("loss ")[1]) for line in run_example("own_loop.py", small_manifest, "41")]
    assert len(losses) == 5
    assert min(losses[1:]) < losses[0]


def losses_of_a_plain_loop(manifest: Manifest, plan: Path) -> list[float]:
    network, loss, store = build_backbone("small", seed=0), BatchOHNMLoss(), ImageStore(manifest)
    optimizer, losses = torch.optim.AdamW(network.parameters(), lr=3e-4), []
    for image_ids in PlanBatchSampler(plan):
        images = torch.stack([torch.from_numpy(store.decode(image_id, 32)) for image_id in image_ids])
        value = loss(network(images), torch.from_numpy(manifest.identity_id[image_ids]))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_frameworks_train_on_the_planned_batches(
    finished_run: Path, small_manifest: Path, processes: int
) -> None:
    plan = finished_run / "round-000" / "plan"
    lightning, accelerate = (
        run_example(f"{name}_loop.py", small_manifest, plan, processes=processes)
        for name in ("lightning", "accelerate")
    )
    assert len(lightning) == len(PlanBatchSampler(plan)) == 8
    assert lightning == accelerate
    if processes == 1:
        losses = losses_of_a_plain_loop(Manifest.open(small_manifest), plan)
        assert [float(line.split("loss ")[1]) for line in lightning] == pytest.approx(losses, abs=1e-5)

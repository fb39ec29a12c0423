"""`subspace train` and `subspace extract` on JPEG files, against the bare loop and the bare forward pass on tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from subspace.train import MultiSimilarityLoss, build_backbone

from .jpegs import draw_all
from .measure import Machine, Row, at_least, number, seconds_of, subspace

TRAIN_AIM, EXTRACT_AIM = 0.97, 0.9
"""Shares of the bare speeds."""
OTHER_AIM = 2.0
"""Percent of a step that may be in no phase."""


class Size(NamedTuple):
    """How large everything is."""

    network: str
    P: int
    K: int
    steps: int
    identities: int
    images: int
    """Of each identity."""

    @property
    def batch(self) -> int:
        """B."""
        return self.P * self.K


SIZES = {"cpu": Size("small", 32, 4, 40, 400, 6), "cuda": Size("iresnet50", 128, 4, 100, 4000, 10)}
QUICK = Size("small", 4, 2, 12, 24, 6)


def command_rows(machine: Machine) -> Iterator[Row]:
    """A row for each of bare step, bare forward, extraction and training."""
    size = QUICK if machine.quick else SIZES[machine.device]
    bare_step, bare_forward = bare_speeds(size, machine)
    yield Row(f"bare step, {size.network}, B={size.batch}", f"{number(bare_step)} images/s")
    yield Row(f"bare forward, {size.network}", f"{number(bare_forward)} images/s")
    run, extracted = planned_run(size, machine)
    rate = extracted["summary"]["images_per_second"]
    note = f"{number(rate)} images/s, {decoding()}"
    yield at_least("extract, of the bare forward", rate / bare_forward, EXTRACT_AIM, note=note)
    trained = train(run, size, machine)
    note = f"{number(trained.images_per_second)} images/s"
    yield at_least("train, of the bare step", trained.images_per_second / bare_step, TRAIN_AIM, note=note)
    other = 100 * trained.other
    yield Row("train, part of a step in no phase", f"{number(other)} %", f"at most {OTHER_AIM:g} %", met=other <= OTHER_AIM)  # fmt: skip


def bare_speeds(size: Size, machine: Machine) -> tuple[float, float]:
    """Images a second of a training step, and of a forward pass, on images that lie on the device; nothing of our loop."""
    network = build_backbone(size.network).to(machine.device)
    layout = torch.channels_last if machine.on_gpu else torch.contiguous_format
    network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    S = network.input.size
    images = torch.randint(0, 256, (size.batch, 3, S, S), dtype=torch.uint8, device=machine.device)
    images = images.contiguous(memory_format=layout)
    labels = torch.arange(size.P, device=machine.device).repeat_interleave(size.K)
    loss, optimizer = MultiSimilarityLoss(alpha=2.0, beta=20.0, base=0.8), torch.optim.AdamW(network.parameters(), lr=1e-4)  # fmt: skip

    def precision() -> AbstractContextManager[object]:
        return torch.autocast("cuda", torch.bfloat16) if machine.on_gpu else nullcontext()

    def step() -> None:
        with precision():
            embeddings = network(images)
        value = loss(embeddings.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def forward() -> None:
        with torch.inference_mode(), precision():
            network(images)

    training = size.batch / seconds_of(step, machine.device, most=60, budget=4, warm=5)
    network.eval()
    return training, size.batch / seconds_of(forward, machine.device, most=60, budget=2, warm=5)


def planned_run(size: Size, machine: Machine) -> tuple[Path, dict[str, Any]]:
    """A run with a plan, made by the commands, and what the extraction says of itself."""
    photos, run, manifest = (
        machine.folder / "photos",
        machine.folder / "run",
        machine.folder / "photos.parquet",
    )
    draw_all(photos, size.identities, size.images)
    subspace("ingest", photos, "--out", manifest, "--test-fraction", 0)
    subspace(
        "init", run, "--manifest", manifest, "--model", size.network, "rounds=1", "pretrain.steps=0",
        f"plan.P={size.P}", f"plan.K={size.K}", f"plan.steps={size.steps}", "train.pictures_every=0", "train.log_every=2",
        "extract.max_images=null", "cluster.ids_per_subspace=all" if size is QUICK else "cluster.ids_per_subspace=1000",
        "train.trackers=[]",
    )  # fmt: skip
    subspace("pretrain", run, "--device", machine.device)
    extracted = json.loads(subspace("extract", run, "--device", machine.device, "--json").stdout)
    subspace("cluster", run)
    subspace("plan", run)
    return run, extracted


class Trained(NamedTuple):
    """Of the second half of a training's steps."""

    images_per_second: float
    other: float
    """Share of the time that is in no phase."""


def train(run: Path, size: Size, machine: Machine) -> Trained:
    """Train the run's plan, and read its log."""
    subspace("train", run, "--device", machine.device)
    lines = [json.loads(line) for line in (run / "round-000" / "metrics.jsonl").read_text().splitlines()]
    middle, last = lines[len(lines) // 2 - 1], lines[-1]
    seconds = last["seconds"] - middle["seconds"]
    late = [line for line in lines if line["step"] > middle["step"]]
    named = sum(value or 0 for line in late for key, value in line.items() if key.startswith("seconds_"))
    return Trained((last["step"] - middle["step"]) * size.batch / seconds, max(0.0, 1 - named / seconds))


def decoding() -> str:
    """What the decoder says of this machine."""
    found = json.loads(subspace("doctor", "--quick", "--json").stdout)
    (decoder,) = [finding for finding in found if finding["name"] == "decoder"]
    return f"the cores decode {number(decoder['images_per_second'] * decoder['cores'])}"

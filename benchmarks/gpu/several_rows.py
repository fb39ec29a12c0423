"""Several GPUs: whether NCCL adds up what all of them have, how fast, and two steps of a training by all of them.

On a CPU two processes do the same with gloo, so that every line is run there too.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from subspace.pipeline.stages.training_processes import free_port

from .measure import Machine, Row, number, subspace

NUMBERS = 1 << 26
"""float32 in a reduction: 256 MiB."""
TIMES = 10


def several_rows(machine: Machine) -> Iterator[Row]:
    """The reduction and the training, or a word where there is one GPU."""
    processes = torch.cuda.device_count() if machine.on_gpu else 2
    if processes < 2:
        yield Row("NCCL", "one GPU: skipped")
        return
    backend = "nccl" if machine.on_gpu else "gloo"
    answer = machine.folder / "reduced.json"
    numbers = 1 << 12 if machine.quick or not machine.on_gpu else NUMBERS
    mp.spawn(reduce, (processes, free_port(), backend, numbers, str(answer)), nprocs=processes)  # pyright: ignore[reportPrivateImportUsage]
    found = json.loads(answer.read_text())
    yield Row(
        f"{backend}, all_reduce by {processes} processes",
        "right" if found["right"] else "wrong",
        "right",
        f"{number(found['bytes_per_second'] / 1e9)} GB/s of each",
        found["right"],
        failed=not found["right"],
    )
    yield training_row(processes, machine)


def training_row(processes: int, machine: Machine) -> Row:
    """Two steps of a training by all processes."""
    run, own = machine.folder / "run", machine.folder / "run-by-all"
    what = f"train --processes {processes}, two steps"
    if not (run / "round-000" / "plan").exists():
        return Row(what, "skipped", note="there is no plan; see above")
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(run, own, ignore=shutil.ignore_patterns("checkpoint-*", ".lock"))
    subspace("plan", own, "plan.steps=2", "--force")
    began = time.perf_counter()
    subspace(
        "train", own, "plan.steps=2", "--force", "--processes", processes, "--device", machine.device, "train.log_every=1"
    )  # fmt: skip
    seconds = time.perf_counter() - began
    lines = (own / "round-000" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    fine = len(losses) == 2 and all(loss == loss and loss is not None for loss in losses)
    return Row(what, "done" if fine else f"losses {losses}", "done", f"{number(seconds)} s with its start", fine, not fine)  # fmt: skip


def reduce(rank: int, processes: int, port: int, backend: str, numbers: int, answer: str) -> None:
    """One process: the sum over all of rank + 1 in every place, some times."""
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    own = torch.full((numbers,), rank + 1.0, device=device)
    dist.all_reduce(own)
    right = bool((own == processes * (processes + 1) / 2).all())
    own.fill_(1.0)
    dist.barrier()
    began = time.perf_counter()
    for _ in range(TIMES):
        dist.all_reduce(own)
    expected = torch.full_like(own, float(processes) ** TIMES)
    right = right and torch.allclose(own, expected, rtol=1e-5)  # waits for the device
    seconds = (time.perf_counter() - began) / TIMES
    flags = torch.tensor([right], dtype=torch.int32, device=device)
    dist.all_reduce(flags, dist.ReduceOp.MIN)
    if rank == 0:
        rate = 4 * numbers / seconds
        Path(answer).write_text(json.dumps({"right": bool(flags.item()), "bytes_per_second": rate}))
    dist.barrier()
    dist.destroy_process_group()

"""Runs a function in several processes that torch.distributed joins, each in a fresh interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing

from subspace.pipeline.stages.training_processes import free_port
from subspace.train import distributed


def run_in(count: int, folder: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returns in each of `count` processes; `work` is a function of an importable module."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    multiprocessing.spawn(_process, (count, port, folder, work, arguments), nprocs=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _process(
    rank: int, count: int, port: int, folder: Path, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK="0"
    )
    with distributed.joined():
        torch.save(work(*arguments), folder / f"{rank}.pt")

"""Several processes of one command that train together: started here, or by torchrun or Slurm.

`subspace train RUN --processes 4` is a parent that holds the run's lock, starts four children of the same command,
passes signals on and waits. Under torchrun there is no parent of ours; process 0 holds the lock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import torch

from ...mining.errors import InputError, StaleArtifactError
from ...train import distributed
from ...train.devices import pick_device
from ..child_processes import Child, run_children, threads_each
from ..console import counted
from ..estimates.estimate import Estimate
from ..options import Options
from ..run_directory import RunDirectory
from .stage import Stage, run_stage


def run_stage_together(
    stage: Stage,
    options: Options,
    estimate: Callable[[], str | Estimate],
    work: Callable[[], dict[str, Any] | None],
) -> dict[str, Any]:
    """`run_stage`, with all processes at its work where this one is one of several.

    Process 0 looks whether there is anything to do, and writes the marker; the others only work.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    one_each = seen is not None and "," not in seen  # as torchrun --virtual-local-rank shows them
    # Otherwise torchrun shows all its processes the same GPUs.
    if os.environ.get("TORCHELASTIC_RUN_ID") is not None and not one_each:
        refuse_shared_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), options.device)
    with distributed.joined():
        begun = False

        def work_with_the_others() -> dict[str, Any] | None:
            nonlocal begun
            begun = True
            distributed.agree(True)
            return work()

        if distributed.rank():
            if distributed.agree(False)[0]:
                work()
            return {}
        try:
            return run_stage(stage, options, estimate, work_with_the_others)
        finally:
            if not begun:
                distributed.agree(False)


def train_together(stage: Stage, arguments: list[str], options: Options) -> dict[str, Any]:
    """Do a stage in `options.processes` processes that are started for it, unless it is done.

    Args:
        arguments: of the command that does the stage.
    """
    remake = options.force or (options.remake_stale and _is_stale(stage))
    if options.dry_run or not stage.needs_work(options):
        return run_stage(stage, options, lambda: f"in {options.processes} processes", lambda: None)
    refuse_shared_gpus(options.processes, options.device)
    flags = {
        f"--device={options.device}": options.device is not None,
        "--force": remake,
        "--no-resume": not options.resume,
        "--quiet": options.console.quiet,
    }
    given = [flag for flag, wanted in flags.items() if wanted]
    options.on_work()
    RunDirectory(stage.folder.path.parent).note_stage(stage.label)
    start_together([*arguments, *given, *options.overrides], options.processes, options)
    return stage.folder.record(stage.name)


def refuse_shared_gpus(processes: int, device: str | None) -> None:
    """Refuse more processes of this machine than it has GPUs, where they would train on GPUs.

    NCCL does, once all have begun. Nothing is set up on a GPU for this.

    Args:
        device: as `--device` was given; None or auto: a GPU where there is one.

    Raises:
        InputError: there are fewer GPUs.
    """
    gpus = torch.cuda.device_count()
    if gpus and processes > gpus and (device or "auto").partition(":")[0] in ("auto", "cuda"):
        raise InputError(
            f"{counted(processes, 'process', 'processes')}, {counted(gpus, 'GPU')}: processes that train together need "
            f"one each; start {'one' if gpus == 1 else gpus} (--processes {gpus}), or pass --device cpu"
        )


def training_device(name: str | None) -> torch.device:
    """The device of this process: as `pick_device`, and one GPU each where several processes train."""
    device = pick_device(name)
    return distributed.local_device() if device.type == "cuda" and distributed.count() > 1 else device


def _is_stale(stage: Stage) -> bool:
    try:
        stage.is_done()
    except StaleArtifactError:
        return True
    return False


def start_together(arguments: list[str], count: int, options: Options) -> None:
    """Run `subspace ARGUMENTS` in `count` processes that torch.distributed joins; process 0 speaks for all.

    Raises:
        SystemExit, StoppedEarly: as `run_children` does.
    """
    meeting = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count))
    threads = threads_each(count)
    children = [Child(arguments, threads, {**meeting, **rank}, speaks=rank["RANK"] == "0") for rank in ranks]
    run_children(children, options)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

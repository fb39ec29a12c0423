"""An extraction, or an embedding, by several processes of this machine: `subspace extract RUN --processes 4`.

The parent starts a `subspace extract RUN --shard i --num-shards n` for each, shows one bar of the parts that appear,
and merges them. Unlike processes that train together these never speak to each other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from ...mining.errors import InputError
from ...train.devices import pick_device
from ..child_processes import Child, run_children, threads_each
from ..console import Progress
from ..options import Options
from .parts import Parts, Shard

LOOKED_FOR_EVERY = 0.5
"""Seconds between looks for parts that have appeared."""


def devices_of(name: str | None, count: int) -> list[str]:
    """The device of each of `count` processes: one GPU after another, unless `name` says which."""
    device = pick_device(name)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{number % torch.cuda.device_count()}" for number in range(count)]
    return [str(device)] * count


class _Appearing:
    """The missing parts, and a bar that counts their images as they appear."""

    def __init__(self, parts: Parts, progress: Progress) -> None:
        self.parts, self.progress, self.missing = parts, progress, parts.missing()
        self._looked = time.monotonic()

    def look(self) -> None:
        missing = [part for part in self.missing if not self.parts.is_finished(part)]
        self.progress.update(self.parts.images({*self.missing} - {*missing}))
        self.missing, self._looked = missing, time.monotonic()

    def look_at_times(self) -> None:
        if time.monotonic() - self._looked >= LOOKED_FOR_EVERY:
            self.look()


def make_in_processes(parts: Parts, command: Sequence[str], options: Options, progress: Progress) -> None:
    """Make the missing parts by a command in `options.processes` processes, or in fewer where fewer are missing.

    Each has as many threads as when all parts are missing: the last bit of a mean may depend on their number, but not
    on where the work was stopped.

    Args:
        command: a command of subspace, that takes --shard, --num-shards, --device and --quiet; settings follow.

    Raises:
        InputError: the processes have ended well, but parts are missing.
        SystemExit: one of them ended with an error of its own, said on standard error; with its exit code.
        StoppedEarly: one of them was killed, or a signal came. What is finished is kept.
    """
    appearing = _Appearing(parts, progress)
    threads = threads_each(min(options.processes, len(parts)))
    count = min(options.processes, len(appearing.missing))
    shards = [shard for shard in (Shard(index, count) for index in range(count)) if parts.missing(shard)]
    children = [
        Child(
            [
                *(*command, "--shard", str(shard.index), "--num-shards", str(shard.count)),
                *(f"--device={device}", "--quiet", *options.overrides),
            ],
            threads,
            {"LOCAL_WORLD_SIZE": str(count)},
        )
        for shard, device in zip(shards, devices_of(options.device, len(shards)), strict=True)
    ]
    run_children(children, options, appearing.look_at_times, grace=0)
    appearing.look()
    if appearing.missing:
        raise InputError(
            f"{len(appearing.missing)} of {len(parts)} parts are missing in {parts.folder} though all processes have "
            f"ended well; were settings changed meanwhile? run the same command again"
        )

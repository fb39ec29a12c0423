"""The machine: cores, memory, disk, shared memory, and how fast it decodes images."""

from __future__ import annotations

import io
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ...mining.machine import allowed_cores, cpu_quota, free_of_limit, free_of_machine
from ..console import amount, counted
from .finding import Finding

SHARED = Path("/dev/shm")
LITTLE_SHARED = 1 << 30
"""Bytes; containers begin with 64 MiB. NCCL takes about 10 MB for each pair of GPUs and channel."""
LITTLE_DISK = 10 << 30
SIZE = 112
"""Pixels a side of the image that is decoded."""


def cores(allowed: int | None = None, quota: float | None = None) -> Finding:
    """Cores that this process may use, and fewer where its container has a quota."""
    allowed, quota = allowed or allowed_cores(), cpu_quota() if quota is None else quota
    value = f"{allowed} of {os.cpu_count()}"
    if quota is None or quota >= allowed:
        return Finding("cores", value, facts={"cores": allowed})
    return Finding(
        "cores",
        f"{value}, of which the container may use {quota:.1f}",
        f"more than {math.ceil(quota)} threads wait for each other: export OMP_NUM_THREADS={math.ceil(quota)}; "
        "num_workers=auto knows it",
        {"cores": quota},
    )


def memory(free: int | None = None, within: int | None = None) -> Finding:
    """Memory that programs may still take of the machine, and less where the container or the job has a limit."""
    free = free_of_machine() if free is None else free
    within = free_of_limit() if within is None else within
    if free is None and within is None:
        return Finding("memory", "not known")
    least = min(size for size in (free, within) if size is not None)
    limited = ", the limit of the container or the job" if least == within else ""
    return Finding("memory", f"{amount(least)} free{limited}", facts={"free": least})


def disk(folder: Path | None = None, free: int | None = None) -> Finding:
    """Space of the current folder, where a run would be written."""
    folder = folder or Path.cwd()
    free = shutil.disk_usage(folder).free if free is None else free
    writable = os.access(folder, os.W_OK)
    advice = None if writable else f"{folder} cannot be written to; make runs elsewhere"
    if writable and free < LITTLE_DISK:
        advice = (
            "a run keeps its means and checkpoints: 10 million identities of 512 numbers are 20 GB a round"
        )
    return Finding("disk", f"{amount(free)} free in {folder}", advice, {"free": free})


def shared_memory(folder: Path = SHARED, size: int | None = None, gpus: int | None = None) -> Finding:
    """/dev/shm, through which NCCL joins GPUs of a machine that cannot reach each other; loader processes need none."""
    if size is None and not folder.exists():
        return Finding("shared memory", f"no {folder}")
    size = shutil.disk_usage(folder).total if size is None else size
    if gpus is None:
        import torch

        gpus = torch.cuda.device_count()
    little = size < LITTLE_SHARED and gpus > 1
    advice = "NCCL may need more to join GPUs: docker run --shm-size=1g, or --ipc=host" if little else None
    return Finding("shared memory", amount(size), advice, {"size": size})


def decoder(seconds: float = 0.5, turbo: bool | None = None, quota: float | None = None) -> Finding:
    """Images of 112 px that a core decodes a second, from JPEGs in memory, and all that this process may use."""
    from PIL import features

    from ...train.data.images import decode_image

    turbo = bool(features.check_feature("libjpeg_turbo")) if turbo is None else turbo
    data, decoded = a_jpeg(SIZE), 0
    decode_image(data, SIZE)
    began = time.thread_time()
    while (took := time.thread_time() - began) < seconds:
        decode_image(data, SIZE)
        decoded += 1
    rate, allowed, quota = decoded / took, allowed_cores(), cpu_quota() if quota is None else quota
    used = allowed if quota is None else min(allowed, quota)
    who = counted(allowed, "core") if used == allowed else f"the {used:.1f} of the container"
    by = "libjpeg-turbo" if turbo else "libjpeg"
    return Finding(
        "decoder",
        f"{rate:,.0f} images/s a core (JPEG, {SIZE} px, {by}), {rate * used:,.0f} by {who}",
        None if turbo else "this Pillow is without libjpeg-turbo: pip install --force-reinstall pillow",
        {"images_per_second": rate, "cores": used},
    )


def a_jpeg(size: int) -> bytes:
    """A picture with edges and some grain, as JPEG: 9 kB at 112 px, as a face at high quality is."""
    import numpy as np
    from PIL import Image

    from ...mining.randomness import generator

    y, x = np.mgrid[:size, :size] * 16 // size
    colours = np.stack([x * y * 31 % 251, (x - y) * 47 % 253, (x + 2 * y) * 13 % 255], axis=-1)
    grain = generator(0, "doctor").normal(0, 9, colours.shape)
    buffer = io.BytesIO()
    Image.fromarray((colours + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def all_of_it() -> Iterator[Finding]:
    """Every check of this file."""
    yield cores()
    yield memory()
    yield disk()
    yield shared_memory()
    yield decoder()

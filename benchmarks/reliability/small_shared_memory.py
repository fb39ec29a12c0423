"""/dev/shm of 64 MB, as Docker gives it, and of 8 MB: what loader workers hand over their batches in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, put_right
from disturbed_commands import end_of, start_anew
from tiny_run import TinyRun

LARGE = (
    "preprocess.size=128", "pretrain.P=16", "pretrain.K=6", "pretrain.steps=20", "pretrain.num_workers=8",
    "plan.steps=2", "rounds=1",
)  # fmt: skip
"""Batches of 5 MB, of which eight workers hold two each."""
PATIENCE = 90.0
"""Seconds; a command that waits for a dead worker waits for ever."""


def small_shared_memory(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Both sizes; afterwards the same command with all of the machine's shared memory."""
    what = "/dev/shm of {} MB"
    if skipped := _why_not():
        return [Accidents(what.format(size), [], skipped=skipped) for size in (8, 64)]
    return [
        Accidents(what.format(size), [_small(tiny, size)] * (1 if short else 4), alone=True)
        for size in (8, 64)
    ]


def _why_not() -> str:
    """Why no /dev/shm of another size can be had here; empty: it can."""
    if os.geteuid() or not shutil.which("unshare"):
        return "needs root and unshare"
    return "" if subprocess.run([*_with_shm(8), "true"], capture_output=True).returncode == 0 else "no mounts"


def _with_shm(megabytes: int) -> list[str]:
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs /dev/shm && exec "$@"'
    return ["unshare", "-m", "sh", "-c", mount, "sh"]


def _small(tiny: TinyRun, megabytes: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run", *LARGE)
        first = end_of(start_anew(["run", run, "--quiet"], _with_shm(megabytes)), PATIENCE)
        attempt = put_right(tiny, run, first, LARGE)
        if first.code in (2, 4) and not any(word in first.errors for word in ("--shm-size", "/dev/shm")):
            return Attempt(attempt.happened, f"no word of /dev/shm: {first.errors.strip()}; {attempt.wrong}")
        return attempt

    return trial

"""The schedulers there are, by the name in `schedule.scheduler`. A new one adds its name and its row here.

A leaf beside the folder of schedulers, since the settings import it too. The module of a scheduler is imported only
where that scheduler is used.
"""

from __future__ import annotations

import shutil
from typing import Literal

SchedulerName = Literal["slurm", "local", "kubernetes"]

SCHEDULERS: dict[SchedulerName, tuple[str, str]] = {
    "slurm": ("slurm", "Slurm"),
    "local": ("local", "Local"),
    "kubernetes": ("kubernetes", "Kubernetes"),
}
"""The module in `schedulers/`, and its class."""


def resolve_name(setting: Literal["auto"] | SchedulerName) -> SchedulerName:
    """The scheduler that `schedule.scheduler` means on this machine: for `auto` Slurm where there is sbatch."""
    if setting != "auto":
        return setting
    return "slurm" if shutil.which("sbatch") else "local"

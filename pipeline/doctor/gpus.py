"""GPUs as the driver, torch and FAISS see them: which there are, and why one is left idle."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..console import amount, counted
from .finding import Finding

DRIVER = Path("/proc/driver/nvidia/version")
LITTLE = 0.5
"""Share of a GPU's memory below which what is free is worth a word."""


class Gpu(NamedTuple):
    """One GPU, as torch sees it."""

    name: str
    memory: int
    free: int
    """Bytes that no program has."""
    capability: tuple[int, int]

    @property
    def has_bf16(self) -> bool:
        """Whether it multiplies bf16 itself (from Ampere on)."""
        return self.capability >= (8, 0)


def driver_version(path: Path = DRIVER) -> str | None:
    """The version of NVIDIA's kernel driver; None where there is none."""
    try:
        text = path.read_text()
    except OSError:
        return None
    found = re.search(r"Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else "of a version that it does not say"


def torch_gpus() -> list[Gpu]:
    """What torch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        properties = torch.cuda.get_device_properties(index)
        found.append(Gpu(properties.name, total, free, (properties.major, properties.minor)))
    return found


def why_none() -> str:
    """What torch says where it sees no GPU."""
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return "No CUDA GPUs are available"


def driver(version: str | None, gpus: Sequence[Gpu], said: str, visible: str | None) -> Finding:
    """The driver, and why torch sees no GPU although there is one.

    Args:
        said: what torch says where it sees none.
        visible: CUDA_VISIBLE_DEVICES.
    """
    from ...train.device_errors import missing_device

    if version is None and not gpus:
        return Finding("driver", "no NVIDIA driver: all work is done on the CPU")
    if gpus:
        return Finding("driver", f"NVIDIA {version or 'of a version that it does not say'}")
    return Finding("driver", f"NVIDIA {version}", missing_device("cuda", said, 0, visible))


def gpu(index: int, found: Gpu, compiled_for: Collection[str]) -> Finding:
    """One GPU.

    Args:
        compiled_for: what torch was built for, such as sm_90; empty: not known.
    """
    major, minor = found.capability
    value = f"{found.name}, {amount(found.memory)} ({amount(found.free)} free), compute capability {major}.{minor}, "
    value += "bf16" if found.has_bf16 else "no bf16"
    facts = {
        "memory": found.memory, "free": found.free, "capability": f"{major}.{minor}", "bf16": found.has_bf16,
    }  # fmt: skip
    return Finding(f"cuda:{index}", value, _advice(found, compiled_for), facts)


def _advice(found: Gpu, compiled_for: Collection[str]) -> str | None:
    if compiled_for and not any(_runs_on(found.capability, name) for name in compiled_for):
        return (
            f"this torch has no code for it, only for {', '.join(sorted(compiled_for))}; install another build "
            "(docs/install.md)"
        )
    if found.free < LITTLE * found.memory:
        return f"other programs have {amount(found.memory - found.free)} of it; `nvidia-smi` names them"
    if not found.has_bf16:
        return "train with precision=16-mixed rather than bf16-mixed on it"
    return None


def _runs_on(capability: tuple[int, int], name: str) -> bool:
    """Whether a GPU runs code for `name`: sm_80 on all of 8.x, compute_80, which is compiled anew, on all later ones too."""
    built = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name)
    if built is None:
        return False
    number = (int(built[2]), int(built[3]))
    return number <= capability and (built[1] == "compute" or number[0] == capability[0])


def faiss(gpus: int, faiss_sees: int, packages: Collection[str]) -> Finding:
    """GPUs that FAISS sees beside those of torch."""
    from ...mining.clustering.idle_gpus import problem_with_faiss

    value = counted(faiss_sees, "GPU") if faiss_sees else "no GPU"
    return Finding("FAISS sees", value, problem_with_faiss(gpus, faiss_sees, packages), {"gpus": faiss_sees})


def all_gpus() -> Iterator[Finding]:
    """The driver, every GPU, and what FAISS sees."""
    import torch

    from ...mining.clustering.idle_gpus import faiss_gpus, faiss_packages

    gpus = torch_gpus()
    version, visible = driver_version(), os.environ.get("CUDA_VISIBLE_DEVICES")
    yield driver(version, gpus, "" if gpus or version is None else why_none(), visible)
    for index, found in enumerate(gpus):
        yield gpu(index, found, torch.cuda.get_arch_list())
    yield faiss(len(gpus), faiss_gpus(), faiss_packages())

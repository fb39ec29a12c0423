"""Where a network runs, and at which precision."""

from __future__ import annotations

import os
import re
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

from ..mining.errors import InputError, SubspaceWarning
from .device_errors import missing_device, unused_gpu
from .training_config import Precision


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name` (cpu, cuda, cuda:1, mps); without a name the fastest one there is.

    Raises:
        InputError: no such device here.

    Example:
        >>> from subspace.train import pick_device
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name is None or name == "auto":
        if _cuda_is_there():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"(cpu|mps|meta|cuda|xpu)(:\d+)?", name):
        raise InputError(f"--device {name} is no device; use cpu, cuda, cuda:1 or mps")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "meta":
            raise InputError("--device meta computes nothing; use cpu, cuda or mps")
    except (RuntimeError, AssertionError) as error:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise InputError(missing_device(name, str(error), torch.cuda.device_count(), visible)) from error
    return device


def _cuda_is_there() -> bool:
    """Whether torch sees a GPU; what it warns of one that it cannot use is said in a line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    for warning in caught:
        warnings.warn(unused_gpu(str(warning.message)), SubspaceWarning, stacklevel=3)
    return there


def cpu_has_bf16() -> bool:
    """Whether bf16 has a quick way on this CPU; without one (x86 before AVX-512) every operation converts its numbers."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def warn_of_emulated_bf16() -> None:
    """Say, once in a process, that 32-true is faster here."""
    warnings.warn(
        "this CPU has no bf16: bf16-mixed is some ten times slower on it than 32-true",
        SubspaceWarning,
        stacklevel=3,
    )


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a network runs at `precision`."""
    if precision == "32-true":
        return nullcontext()
    if precision == "bf16-mixed" and device.type == "cpu" and not cpu_has_bf16():
        warn_of_emulated_bf16()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16-mixed" else torch.float16)

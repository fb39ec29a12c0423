"""Where a network runs, and at which precision."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from ..mining.errors import InputError, SubspaceWarning
from .device_errors import missing_device, unused_gpu
from .training_config import Precision, PrecisionSetting


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
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # events, pinned memory and streams are then of this one, too
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


def peak_gpu_memory(device: torch.device) -> dict[str, int]:
    """What this process held of a GPU at its peak, as `peak_gpu_bytes`; of other devices nothing is known.

    >>> peak_gpu_memory(torch.device("cpu"))
    {}
    """
    if device.type != "cuda":
        return {}
    return {"peak_gpu_bytes": torch.cuda.max_memory_allocated(device)}


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


@dataclass(frozen=True)
class Arithmetic:
    """How a network computes, settled for a device."""

    precision: Precision
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and of convolutions' weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __str__(self) -> str:
        return f"{self.precision}, {'channels last' if self.channels_last else 'contiguous'}"


PLAIN = Arithmetic("32-true", channels_last=False)


def settled(
    device: torch.device, precision: PrecisionSetting = "auto", channels_last: bool | Literal["auto"] = "auto"
) -> Arithmetic:
    """What the settings come to on a device; `auto` is what its GPU is fastest with, and 32-true on others.

    >>> settled(torch.device("cpu"))
    Arithmetic(precision='32-true', channels_last=False)
    """
    if precision == "auto":
        precision = "bf16-mixed" if gpu_has_bf16(device) else "32-true"
    if channels_last == "auto":
        channels_last = device.type == "cuda" and precision != "32-true"
    return Arithmetic(precision, channels_last)


def gpu_has_bf16(device: torch.device) -> bool:
    """Whether it is an NVIDIA GPU of Ampere (2020) or later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a network runs at `precision`; backward too where that is 32-true or tf32."""
    if precision in ("32-true", "tf32"):
        return fp32_products("tf32" if precision == "tf32" else "ieee")
    if precision == "bf16-mixed" and device.type == "cpu" and not cpu_has_bf16():
        warn_of_emulated_bf16()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16-mixed" else torch.float16)


def backward_products(precision: Precision) -> AbstractContextManager[object]:
    """The context of a backward pass: autograd keeps the types of autocast, but not how float32 is multiplied."""
    return autocast(torch.device("cpu"), precision) if precision in ("32-true", "tf32") else nullcontext()


@contextmanager
def fp32_products(how: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Multiply float32 on NVIDIA GPUs as it is (ieee), or with 10 bits after the point (tf32), in convolutions too.

    Torch's own default is ieee in products and tf32 in convolutions, which moves identity means by 4e-4.
    """
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    name, value, places = "allow_tf32", how == "tf32", (cudnn, products)
    before: list[object] = []
    try:
        before = [getattr(place, name) for place in places]
        newer = any(getattr(above, "fp32_precision", "none") != "none" for above in (torch.backends, cudnn))
    except RuntimeError:  # somebody has set the newer flags, after which torch refuses to read the older ones
        newer = True
    if newer:
        name, value, places = "fp32_precision", how, (cudnn.conv, cudnn.rnn, products)
        before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            setattr(place, name, was)


def numbers_of(scalars: Sequence[Tensor | float]) -> list[float]:
    """The values of scalars, those on a device read in one copy.

    >>> numbers_of([torch.tensor(0.5), 2.0])
    [0.5, 2.0]
    """
    tensors = [scalar.detach() for scalar in scalars if isinstance(scalar, Tensor)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    return [float(next(read)) if isinstance(scalar, Tensor) else scalar for scalar in scalars]

"""Memory that ran out, on a GPU or on the machine, told from other errors by its text; no torch.

What is recognised: torch's errors for CUDA and MPS, those of cuBLAS and cuDNN that have no room for their work, torch's CPU
allocator, NumPy, Arrow, FAISS on CPU and GPU.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from types import TracebackType

SIGNS = (
    "out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED", "bad_alloc", "Cannot allocate memory",
)  # fmt: skip
"""Parts of messages of RuntimeErrors that mean this and nothing else."""
UNITS = {"bytes": 1, "B": 1}
UNITS |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTPE", 1)}
UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGTPE", 1)}
AMOUNT = r"([\d.]+) ([KMGTPE]i?B|bytes|B)\b"
ASKED = re.compile(
    r"(?:[Tt]ried to allocate|[Uu]nable to allocate|malloc of size|realloc to size|size|cudaMalloc)\s+(\d[\d.]*)(?: ([KMGTPE]i?B|bytes))?"
)
FREE, TOTAL = re.compile(rf"of which {AMOUNT} is free"), re.compile(rf"total capaci?ty of {AMOUNT}")
GPU = re.compile(r"GPU (\d+)|\bdev(?:ice)? (\d+)")


@dataclass(frozen=True)
class Shortage:
    """What was asked for and what there was, in bytes; None where the error does not say."""

    device: str
    """cuda:0, mps, or cpu."""
    asked: int | None = None
    free: int | None = None
    total: int | None = None
    in_loss: bool = False
    """Whether a loss asked, not the network."""

    def fitting(self, count: int, least: int = 1) -> int | None:
        """How many of something to try where `count` at a time were too many; None where not even `least` may fit.

        The rule: the largest power of two that is at most half of them, and at most their share of the memory. What they need
        is at least what was in use and what was asked for; only so much of it as the device has is there for the next try.
        """
        most = count / 2
        if self.asked and self.free is not None and self.total:
            most = min(most, count * self.total / (self.total - self.free + self.asked))
        return None if most < least else 2 ** (int(most).bit_length() - 1)


def shortage_of(error: BaseException) -> Shortage | None:
    """The shortage that an error tells of; None where it tells of something else.

    Example:
        >>> shortage_of(MemoryError("Unable to allocate 15.0 GiB for an array")).asked / 2**30
        15.0
        >>> shortage_of(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
        True
    """
    text = str(error)
    of_system = isinstance(error, OSError) and error.errno == errno.ENOMEM  # a process could not be started
    of_library = isinstance(error, RuntimeError) and any(sign in text for sign in SIGNS)
    if not (isinstance(error, MemoryError) or of_system or of_library):
        return None
    asked, free, total, gpu = (pattern.search(text) for pattern in (ASKED, FREE, TOTAL, GPU))
    return Shortage(
        _device(text, gpu),
        _bytes(asked[1], asked[2]) if asked else None,
        _bytes(free[1], free[2]) if free else None,
        _bytes(total[1], total[2]) if total else None,
        _in_loss(error.__traceback__),
    )


def _device(text: str, gpu: re.Match[str] | None) -> str:
    if "MPS" in text:
        return "mps"
    if not re.search(r"CUDA|cuda|CUBLAS|CUDNN|GPU", text):
        return "cpu"
    return f"cuda:{gpu[1] or gpu[2]}" if gpu else "cuda"


def _bytes(number: str, unit: str | None) -> int:
    return int(float(number.rstrip(".")) * UNITS[unit or "bytes"])


def _in_loss(trace: TracebackType | None) -> bool:
    losses = f"{__package__}.losses."
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(losses):
            return True
        trace = trace.tb_next
    return False

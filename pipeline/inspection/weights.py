"""Safetensors files: which tensors there are, by the header alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from ...mining.errors import InputError
from ...mining.json_documents import parse_json
from ..console import amount
from .summary import Summary

LENGTH_BYTES = 8
TENSORS_SHOWN = 30
HEADER_AT_MOST = 100_000_000
"""Bytes; the format's own limit."""

TITLES = {
    "model": "weights and buffers of a network",
    "ema": "averaged weights and buffers of a network",
    "optimizer": "state of an optimiser",
    "loss": "weights of a loss",
    "running": "running identity means of a training",
}
"""What a file of weights holds, by its name without the suffix."""


class TensorHeader(NamedTuple):
    """One tensor of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    """Bytes."""

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def summarize_weights(path: Path) -> Summary:
    """Summarise a safetensors file.

    Raises:
        InputError: missing, or damaged.
    """
    tensors = read_tensor_headers(path)
    summary = Summary(str(path), "weights", title=TITLES.get(path.stem, "tensors"))
    summary.add("tensors", len(tensors))
    summary.add("numbers", sum(tensor.numbers for tensor in tensors))
    summary.add_bytes(path.stat().st_size)
    summary.facts["by_tensor"] = {
        tensor.name: {"shape": list(tensor.shape), "dtype": tensor.dtype} for tensor in tensors
    }
    rows = [
        [tensor.name, " x ".join(f"{size:,}" for size in tensor.shape) or "one number", tensor.dtype,
         f"{tensor.numbers:,}", amount(tensor.size)]
        for tensor in tensors
    ]  # fmt: skip
    if rows:
        summary.show_table(
            "tensors",
            [["name", "shape", "type", "numbers", "size"], *rows],
            text=(0, 1, 2),
            at_most=TENSORS_SHOWN,
        )
    return summary


def read_tensor_headers(path: Path) -> list[TensorHeader]:
    """The tensors of a safetensors file, in the order of their bytes.

    Raises:
        InputError: missing, or damaged.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if size < LENGTH_BYTES or length > min(size - LENGTH_BYTES, HEADER_AT_MOST):
                raise _damaged(path, "it ends before its header does")
            header = parse_json(file.read(length))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, "its header is not JSON") from error
    try:
        found = [_tensor(name, entry) for name, entry in header.items() if name != "__metadata__"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "its header lists no tensors") from error
    found.sort()
    there, wanted = size - LENGTH_BYTES - length, max((end for _, end, _ in found), default=0)
    if there != wanted:
        raise _damaged(path, f"its tensors take {wanted:,} bytes and it has {there:,}")
    return [tensor for _, _, tensor in found]


def _tensor(name: str, entry: Any) -> tuple[int, int, TensorHeader]:
    """Where a tensor begins and ends among the bytes, and what it is."""
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in (start, end, *shape)):
        raise ValueError(f"{name} has no shape")
    return start, end, TensorHeader(name, shape, str(entry["dtype"]), end - start)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not a readable safetensors file (truncated?): {why}")

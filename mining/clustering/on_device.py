"""What the host does one way and a GPU another: block sizes, counts and sums by group, blocks on their way to it.

Shapes: n rows, M groups, D numbers in a row.

Every sum here is the same bytes each time, on every device: nothing adds floats in the order in which threads arrive.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

IN_A_CORES_CACHE = 2**19
"""2 MB of similarities."""


def on_host(tensor: torch.Tensor) -> bool:
    """Whether reading a value of `tensor` costs nothing, since no queue of kernels has to be waited for."""
    return tensor.device.type == "cpu"


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """The same memory as a tensor, also of an array that may not be written to."""
    with warnings.catch_warnings():  # torch warns of arrays that are not writable; nobody writes here
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def counts_by_group(group_n: torch.Tensor, M: int) -> torch.Tensor:
    """How many rows each of M groups has: int64[M]. On a GPU by sorting, since `bincount` waits for its maximum."""
    if on_host(group_n):
        return torch.bincount(group_n, minlength=M)
    borders = torch.arange(M + 1, device=group_n.device, dtype=group_n.dtype)
    return torch.searchsorted(group_n.sort().values, borders).diff()


def sums_by_group(rows_nD: torch.Tensor, group_n: torch.Tensor, M: int) -> torch.Tensor:
    """Sums of the rows of each of M groups: float32[M, D], each added in the order of the rows.

    `index_add_` would add in any order on a GPU, and is slower on the CPU.
    """
    group, order = group_n.sort(stable=True)
    first = torch.searchsorted(group, torch.arange(M, device=group.device, dtype=group.dtype))
    return torch.nn.functional.embedding_bag(order, rows_nD, first, mode="sum")


def blocks_on(
    blocks: Iterable[tuple[int, np.ndarray]], device: torch.device
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the blocks as tensors on `device`; the next one is read into pinned memory meanwhile."""
    if device.type == "cpu":
        yield from ((start, as_tensor(rows)) for start, rows in blocks)
        return
    waiting = iter(blocks)

    def pinned() -> tuple[int, torch.Tensor] | None:
        block = next(waiting, None)
        if block is None:
            return None
        rows = torch.empty(block[1].shape, pin_memory=True)
        np.copyto(rows.numpy(), block[1])
        return block[0], rows

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(pinned)
        while (block := ahead.result()) is not None:
            ahead = reader.submit(pinned)
            yield block[0], block[1].to(device, non_blocking=True)

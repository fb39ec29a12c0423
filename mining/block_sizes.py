"""How many similarities are held at a time: what suits the cache of a CPU or fits the memory of a GPU; imports torch."""

from __future__ import annotations

import torch

IN_A_CACHE = 2**21
"""8 MB in float32: on a CPU larger blocks leave its last-level cache."""
AT_MOST = 2**27
"""512 MiB in float32: a GPU gains little by more."""
LEAST_ROWS = 128
"""Fewer rows make a slow product."""


def similarities_at_a_time(device: torch.device) -> int:
    """Numbers in a block of similarities on `device`.

    On a GPU a quarter of the free memory in float32, at most 512 MiB and at least 16 MiB.
    """
    if device.type != "cuda":
        return IN_A_CACHE
    free = torch.cuda.mem_get_info(device)[0]
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(2**22, min(AT_MOST, free // 16))


def rows_at_a_time(rows: int, columns: int, device: torch.device) -> int:
    """Rows of a block of all `columns`, so that it holds no more than `similarities_at_a_time`."""
    if rows * columns <= IN_A_CACHE:
        return max(1, rows)
    return max(LEAST_ROWS, similarities_at_a_time(device) // columns)

"""How many similarities are held at a time: what suits the cache of a CPU or fits the memory of a GPU; imports torch."""

from __future__ import annotations

from functools import cache

import torch

IN_A_CACHE = 2**21
"""8 MB in float32: on a CPU larger blocks leave its last-level cache."""
AT_LEAST, AT_MOST = 2**22, 2**27
"""16 and 512 MiB in float32: a GPU gains little by more."""
LEAST_ROWS = 128
"""Fewer rows make a slow product."""


def similarities_at_a_time(device: torch.device, on_cpu: int = IN_A_CACHE) -> int:
    """Numbers in a block of similarities on `device`: `on_cpu`, or on a GPU a sixteenth of its memory, 512 MiB at most.

    Less where not four times as much is free when it is first asked. A power of two, and the same in all of a process, so
    that blocks are the same, and the rounding.
    """
    return _of_gpu(device) if device.type == "cuda" else on_cpu


@cache
def _of_gpu(device: torch.device) -> int:
    free, whole = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    fitting = max(AT_LEAST, min(AT_MOST, min(whole // 16, free // 4) // 4))
    return 2 ** (fitting.bit_length() - 1)


def rows_at_a_time(rows: int, columns: int, device: torch.device) -> int:
    """Rows of a block of all `columns`, so that it holds no more than `similarities_at_a_time`."""
    if rows * columns <= IN_A_CACHE:
        return max(1, rows)
    return max(LEAST_ROWS, similarities_at_a_time(device) // columns)

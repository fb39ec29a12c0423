"""Blocks of similarities: bounded by the device."""

from __future__ import annotations

import pytest
import torch

from subspace.mining import block_sizes
from subspace.mining.block_sizes import (
    AT_MOST,
    IN_A_CACHE,
    LEAST_ROWS,
    rows_at_a_time,
    similarities_at_a_time,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_cpu_keeps_to_its_cache() -> None:
    assert similarities_at_a_time(CPU) == IN_A_CACHE
    assert similarities_at_a_time(CPU, 1000) == 1000
    assert rows_at_a_time(512, 512, CPU) == 512
    assert rows_at_a_time(4096, 4096, CPU) == 512
    assert rows_at_a_time(65536, 65536, CPU) == LEAST_ROWS
    assert rows_at_a_time(0, 0, CPU) == 1


@pytest.mark.parametrize(
    ("free", "held", "expected"),
    [(80 * 2**30, 0, AT_MOST), (2**30, 0, 2**26), (0, 2**30, 2**26), (0, 0, 2**22)],
)
def test_a_gpu_gives_a_power_of_two_below_a_quarter_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, free: int, held: int, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**30 + held)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3 * 2**30)
    block_sizes._of_gpu.cache_clear()
    assert similarities_at_a_time(GPU) == expected
    assert rows_at_a_time(4096, 512, GPU) == 4096  # a small batch asks nobody
    block_sizes._of_gpu.cache_clear()

"""How many processes decode where the settings leave it open."""

from __future__ import annotations

import os

import pytest
import torch

from subspace.train.data.image_input import ImageInput
from subspace.train.workers import MOST, PROCESS_BYTES, loader_bytes, worker_count

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    return monkeypatch


def test_a_number_is_what_it_says(sixteen_cores: pytest.MonkeyPatch) -> None:
    for device in (CPU, GPU):
        assert [worker_count(number, device) for number in (0, 1, 40)] == [0, 1, 40]


def test_a_gpu_has_all_cores_but_one(sixteen_cores: pytest.MonkeyPatch) -> None:
    assert worker_count("auto", GPU) == 15
    assert worker_count("auto", GPU, processes=4) == 3
    sixteen_cores.setenv("LOCAL_WORLD_SIZE", "8")
    assert worker_count("auto", GPU) == 1
    sixteen_cores.setenv("LOCAL_WORLD_SIZE", "32")
    assert worker_count("auto", GPU) == 1
    sixteen_cores.setattr(os, "sched_getaffinity", lambda pid: set(range(200)))
    assert worker_count("auto", GPU, processes=1) == 5
    sixteen_cores.delenv("LOCAL_WORLD_SIZE")
    assert worker_count("auto", GPU) == MOST


def test_beside_a_network_on_the_cpu_one_process_decodes(sixteen_cores: pytest.MonkeyPatch) -> None:
    assert worker_count("auto", CPU) == 1
    assert worker_count("auto", CPU, processes=16) == 0
    sixteen_cores.setenv("LOCAL_WORLD_SIZE", "16")
    assert worker_count("auto", CPU) == 0


def test_bytes_of_loader_processes() -> None:
    """Each holds itself and four batches, and one batch is with the network."""
    input = ImageInput((4, 5))
    assert loader_bytes(0, 10, input) == 600
    assert loader_bytes(3, 10, input) == 3 * (PROCESS_BYTES + 4 * 600) + 600

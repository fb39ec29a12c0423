"""Real texts of memory that ran out, and the rule for what to try next."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from subspace.train.memory_errors import Shortage, shortage_of

GiB, MiB = 2**30, 2**20
CUDA = (
    "CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total capacity of 31.47 GiB of which 12.73 GiB is free. "
    "Including non-PyTorch memory, this process has 18.73 GiB memory in use. Of the allocated memory 9.08 GiB is allocated by "
    "PyTorch, and 9.35 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)
FAISS = (
    "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory(const faiss::gpu::AllocRequest&) at "
    "/project/faiss/gpu/StandardGpuResources.cpp:452: Error: 'err == cudaSuccess' failed: StandardGpuResources: alloc fail "
    "type TemporaryMemoryBuffer dev 1 space Device stream 0x55fdc14ecbc0 size 1610612736 bytes (cudaMalloc error out of "
    "memory [2])"
)
TEXTS = [
    (RuntimeError(CUDA), Shortage("cuda:0", int(22.78 * GiB), int(12.73 * GiB), int(31.47 * GiB))),
    (RuntimeError("CUDA out of memory. Tried to allocate 32.00 MiB. GPU 1 has a total capacty of 4.00 GiB of which 41.56 MiB is free."),
     Shortage("cuda:1", 32 * MiB, int(41.56 * MiB), 4 * GiB)),
    (RuntimeError("CUDA out of memory. Tried to allocate 1.70 GiB. GPU 0 has a total capacity of 6.00 GiB of which 0 bytes is free."),
     Shortage("cuda:0", int(1.7 * GiB), 0, 6 * GiB)),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), Shortage("cuda")),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), Shortage("cuda")),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000000 bytes. Error code 12 (Cannot allocate memory)"),
     Shortage("cpu", 4 * 10**15)),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you tried to allocate 1981808640 bytes."),
     Shortage("cpu", 1981808640)),
    (MemoryError("Unable to allocate 15.0 GiB for an array with shape (4026531840,) and data type float32"), Shortage("cpu", 15 * GiB)),
    (MemoryError("malloc of size 4194304064 failed"), Shortage("cpu", 4194304064)),
    (MemoryError(), Shortage("cpu")),
    (OSError(12, "Cannot allocate memory"), Shortage("cpu")),
    (OSError(28, "No space left on device"), None),
    (MemoryError("std::bad_alloc"), Shortage("cpu")),
    (RuntimeError(FAISS), Shortage("cuda:1", 1610612736)),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), None),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 4x8)"), None),
    (ValueError("out of memory"), None),
]  # fmt: skip


@pytest.mark.parametrize(("error", "expected"), TEXTS, ids=[str(error)[:40] for error, _ in TEXTS])
def test_a_shortage_is_told_by_its_text(error: Exception, expected: Shortage | None) -> None:
    assert shortage_of(error) == expected


@pytest.mark.parametrize("ask", [
    lambda: torch.empty(10**15), lambda: __import__("numpy").empty(10**15), lambda: __import__("pyarrow").allocate_buffer(2**60),
])  # fmt: skip
def test_what_the_libraries_here_really_raise(ask: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        ask()
    found = shortage_of(raised.value)
    assert found is not None
    assert found.device == "cpu"
    assert found.asked
    assert found.asked > 10**15


@pytest.mark.parametrize(("shortage", "count", "least", "expected"), [
    (Shortage("cuda"), 256, 4, 128), (Shortage("cuda"), 300, 4, 128), (Shortage("cuda"), 7, 4, None), (Shortage("cuda"), 8, 4, 4),
    # 60 GiB in use and asked for, of 20: a third of 256 is 85
    (Shortage("cuda", 50 * GiB, 10 * GiB, 20 * GiB), 256, 4, 64),
    # hardly too much: half all the same
    (Shortage("cuda", 2 * GiB, 1 * GiB, 80 * GiB), 256, 4, 128),
])  # fmt: skip
def test_the_next_try_is_half_or_what_the_memory_has_room_for(
    shortage: Shortage, count: int, least: int, expected: int | None
) -> None:
    assert shortage.fitting(count, least) == expected


def test_a_loss_that_asks_is_known_by_its_place() -> None:
    place = {"__name__": "subspace.train.losses.anything", "raised": RuntimeError(CUDA)}
    exec("def forward():\n    raise raised", place)  # noqa: S102  (a frame of a module of that folder)
    with pytest.raises(RuntimeError) as caught:
        place["forward"]()  # pyright: ignore[reportCallIssue]
    found = shortage_of(caught.value)
    assert found is not None
    assert found.in_loss

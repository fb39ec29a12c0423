"""Each text that torch, CUDA, gloo or NCCL really says, and what users read and get as exit code.

The texts are as users reported them in the trackers of PyTorch, NCCL, gloo and others.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from subspace.mining.errors import InputError, StoppedEarly, SubspaceWarning
from subspace.train import distributed, pick_device
from subspace.train.device_errors import lost_contact, missing_device, shared_wrongly

NCCL = "NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:275, "
USAGE = f"{NCCL}invalid usage (run with NCCL_DEBUG=WARN for details), NCCL version 2.20.5\nncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\n"
CUDA = f"{NCCL}unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
SYSTEM = f"{NCCL}unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.18.6\nncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. \nLast error:\n"
INTERNAL = (
    f"{NCCL}internal error, NCCL version 2.14.3\nncclInternalError: Internal check failed.\nLast error:\n"
)
REMOTE = f"{NCCL}remote process exited or there was a network error, NCCL version 2.18.1\nncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.\nLast error:\n"

OF_PROCESSES = [
    (f"{USAGE}Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000", 2, "two processes were given one GPU"),
    (f"{USAGE}", 2, "NCCL cannot work here"),
    (f"{CUDA}Cuda failure 100 'no CUDA-capable device is detected'", 2, "sees no GPU"),
    (f"{CUDA}Cuda failure 1 'invalid argument'", 2, "Cuda failure 1 'invalid argument'"),
    (f"{CUDA}Cuda failure 999 'unknown error'", 2, "Cuda failure 999 'unknown error'"),
    (f"{CUDA}Cuda failure 'CUDA driver version is insufficient for CUDA runtime version'", 2, "driver is older"),
    (f"{CUDA}Cuda failure 2 'out of memory'", None, ""),
    ("ProcessGroupNCCL is only supported with GPUs, no GPUs found!", 2, "sees no GPU"),
    ("CUDA error: invalid device ordinal\nGPU device may be out of range, do you have enough GPUs?", 2, "more processes than GPUs"),
    (f"{SYSTEM}Error while creating shared memory segment /dev/shm/nccl-rUzWxd (size 9637888)", 2, "/dev/shm"),
    (f"{SYSTEM}Call to connect to 10.0.0.1<51433> failed : Connection refused", 4, ""),
    (f"{SYSTEM}socketStartConnect: Connect to 10.18.1.3<44321> failed : No route to host", 4, ""),
    (f"{INTERNAL}Net : Connection closed by remote peer gpu004<50260>", 4, ""),
    (f"{REMOTE}socketProgress: Connection closed by remote peer node2<42830>", 4, ""),
    ("NCCL communicator was aborted on rank 1. ", 4, ""),
    ("[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, OpType=BROADCAST, Timeout(ms)=1800000) ran for 1800011 milliseconds before timing out.", 4, ""),
    ("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:12345", 4, ""),
    ("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:269] writev [127.0.0.1]:4711: Broken pipe", 4, ""),
    ("[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1800000ms for recv operation to complete", 4, ""),
    ("sendBytes failed on SocketImpl(fd=63, addr=[localhost]:40934, remote=[localhost]:29500): Broken pipe", 4, ""),
    ("recvValue failed on SocketImpl(fd=63, addr=[localhost]:40934, remote=[localhost]:29500): no error", 4, ""),
    ("Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?", 4, ""),
    ("The client socket has timed out after 60000ms while trying to connect to (node1, 29500).", 4, ""),
    ("The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use", 2, "MASTER_PORT"),
    ("mat1 and mat2 shapes cannot be multiplied (4x8 and 4x8)", None, ""),
    ("CUDA error: an illegal memory access was encountered", None, ""),
    ("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB of which 1.10 GiB is free.", None, ""),
]  # fmt: skip
"""Text, exit code (None: passed on as it is), words that a user finds in the line."""


@pytest.mark.parametrize(
    ("text", "code", "words"), OF_PROCESSES, ids=[text[-40:] for text, _, _ in OF_PROCESSES]
)
def test_only_lost_processes_are_worth_another_try(text: str, code: int | None, words: str) -> None:
    with pytest.raises((RuntimeError, InputError, StoppedEarly)) as raised, distributed.losses_of_contact():
        raise RuntimeError(text)
    assert getattr(raised.value, "exit_code", None) == code
    assert words in str(raised.value)
    assert (shared_wrongly(text) is not None) == (code == 2)
    assert lost_contact(text) == (code == 4)


OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading and "
    "installing a new version from the URL: http://www.nvidia.com/Download/index.aspx Alternatively, go to: "
    "https://pytorch.org to install a PyTorch version that has been compiled with your version of the CUDA driver."
)
NONE = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from http://www.nvidia.com/Download/index.aspx"
UNEXPECTED = "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error "
ORDINAL = "CUDA error: invalid device ordinal\nGPU device may be out of range, do you have enough GPUs?\nCUDA kernel errors might be asynchronously reported"
OF_DEVICES = [
    ("cuda", "Torch not compiled with CUDA enabled", 0, None, "this torch has no CUDA; install"),
    ("cuda", NONE, 0, None, "no NVIDIA driver is loaded"),
    ("cuda", OLD, 0, None, "the NVIDIA driver knows CUDA 11.4, older"),
    ("cuda", "No CUDA GPUs are available", 0, "", "CUDA_VISIBLE_DEVICES= hides every GPU"),
    ("cuda", "No CUDA GPUs are available", 0, None, "the NVIDIA driver shows no GPU"),
    ("cuda:7", ORDINAL, 1, None, "torch sees 1 GPU, so up to cuda:0 alone"),
    ("cuda:7", ORDINAL, 4, "0,1,2,3", "torch sees 4 GPUs, so up to cuda:3 (CUDA_VISIBLE_DEVICES=0,1,2,3)"),
    ("cuda", f"{UNEXPECTED}803: system has unsupported display driver / cuda driver combination", 0, None, "restart"),
    ("cuda", f"{UNEXPECTED}802: system not yet initialized", 0, None, "nvidia-fabricmanager"),
    ("cuda", "CUDA error: all CUDA-capable devices are busy or unavailable", 1, None, "another program"),
    ("mps", "The MPS backend is supported on MacOS 14.0+.", 0, None, "Apple"),
    ("xpu", "something new\nand more", 0, None, "something new"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "said", "gpus", "visible", "words"), OF_DEVICES)
def test_a_missing_device_is_one_line_that_says_why(
    name: str, said: str, gpus: int, visible: str | None, words: str
) -> None:
    line = missing_device(name, said, gpus, visible)
    assert line.startswith(f"--device {name} cannot be used here: ")
    assert words in line
    assert "\n" not in line
    assert "download" not in line.lower()


@pytest.mark.skipif(torch.version.cuda is not None, reason="a torch with CUDA says otherwise")
def test_pick_device_says_it_in_these_words() -> None:
    with pytest.raises(InputError, match="this torch has no CUDA; install its CUDA build"):
        pick_device("cuda")


def test_a_gpu_that_torch_cannot_use_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns() -> bool:
        warnings.warn(
            f"CUDA initialization: {OLD} (Triggered internally at CUDAFunctions.cpp:108.)", stacklevel=1
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warns)
    with pytest.warns(
        SubspaceWarning, match="no GPU is used: the NVIDIA driver knows CUDA 11.4, older"
    ) as caught:
        assert pick_device().type != "cuda"
    assert len(caught) == 1

"""What torch, CUDA and NCCL say of devices that are missing or wrongly shared, in words for users; no torch.

The texts on the left of each table are parts of what torch 2.4 to 2.15 and NCCL 2.18 to 2.29 say. Where several fit, the
first counts.
"""

from __future__ import annotations

import re

CPU_INSTEAD = "or pass --device cpu"
DRIVER = "update the NVIDIA driver, or install a torch for an older CUDA (docs/install.md)"

MISSING = {
    "not compiled with CUDA": f"this torch has no CUDA; install its CUDA build (docs/install.md), {CPU_INSTEAD}",
    "Found no NVIDIA driver": f"no NVIDIA driver is loaded; install one, start the container with its GPUs, {CPU_INSTEAD}",
    "driver on your system is too old": f"the NVIDIA driver knows CUDA {{driver}}, older than this torch's; {DRIVER}",
    "driver version is insufficient": f"the NVIDIA driver is older than this torch's CUDA; {DRIVER}",
    "unsupported display driver": "the NVIDIA driver in use and its library differ; restart the machine after an update",
    "system not yet initialized": "the GPUs are not ready; is nvidia-fabricmanager running?",
    "busy or unavailable": "another program has it for itself; wait for that, or take another GPU",
    "no kernel image is available": "this torch has no code for that GPU; install another build (docs/install.md)",
}
"""Part of a message: what is wrong, and what to do."""

SHARED_WRONGLY = {
    "Duplicate GPU detected": "two processes were given one GPU, which NCCL refuses; start no more processes than there are "
    "GPUs (--processes 1), or pass --device cpu",
    "no CUDA-capable device": "one of the processes sees no GPU; give each one of its own (CUDA_VISIBLE_DEVICES), "
    "or pass --device cpu",
    "only supported with GPUs": "one of the processes sees no GPU; give each one of its own (CUDA_VISIBLE_DEVICES), "
    "or pass --device cpu",
    "invalid device ordinal": "there are more processes than GPUs here; start one for each GPU, or pass --device cpu",
    "driver version is insufficient": f"the NVIDIA driver is older than NCCL's CUDA; {DRIVER}",
    "shared memory segment": "NCCL found no room in /dev/shm; enlarge it (docker run --shm-size), or set NCCL_SHM_DISABLE=1",
    "address already in use": "the port where the processes meet is taken; choose another (MASTER_PORT)",
    "EADDRINUSE": "the port where the processes meet is taken; choose another (MASTER_PORT)",
}
"""The same of processes that train together."""

NCCL_REFUSES = (
    "unhandled cuda error",
    "ncclUnhandledCudaError",
    "invalid usage",
    "ncclInvalidUsage",
    "invalid argument",
    "ncclInvalidArgument",
)
"""NCCL's names of errors that come again, however often the command is started."""

LOST = re.compile(
    r"connection( was likely)? (closed|reset|refused|timed out)|broken pipe|timed? ?out|timeout|failed to (connect|recv|send)"
    r"|network error|remote ?error|remote peer|communicator was aborted|no route to host|network is unreachable"
    r"|call to (connect|recv|send)|(recv|send)\w* failed|closed by peer|unhandled system error|gloo",
    re.IGNORECASE,
)
"""What gloo, NCCL and torch's store say once another process or the network is gone."""

OUT_OF_MEMORY = "out of memory"


def missing_device(name: str, said: str, gpus: int, visible: str | None) -> str:
    """Why `--device NAME` cannot be used, in one line.

    Args:
        said: torch's message.
        gpus: how many torch counts.
        visible: CUDA_VISIBLE_DEVICES; None: not set.
    """
    begin = f"--device {name} cannot be used here: "
    for part, words in MISSING.items():
        if part in said:
            return begin + words.format(driver=_driver_cuda(said))
    hidden = f"CUDA_VISIBLE_DEVICES={visible}" if visible is not None else ""
    if gpus and "invalid device ordinal" in said:
        last = f"cuda:{gpus - 1}" if gpus > 1 else "cuda:0 alone"
        return f"{begin}torch sees {gpus} GPU{'s' * (gpus > 1)}, so up to {last}{hidden and f' ({hidden})'}"
    if name.startswith("cuda") and hidden and not gpus:
        return f"{begin}{hidden} hides every GPU there may be; unset it, {CPU_INSTEAD}"
    if "No CUDA GPUs are available" in said or "no CUDA-capable device" in said:
        return f"{begin}the NVIDIA driver shows no GPU (nvidia-smi says which there are); {CPU_INSTEAD[3:]}"
    if "mps" in name and "MPS" in said:
        return f"{begin}MPS is there on Apple's own processors alone; use cpu or cuda"
    return begin + _first_line(said)


def unused_gpu(said: str) -> str:
    """One line where torch warns of a GPU that it cannot use, and the CPU is taken instead."""
    words = next((words for part, words in MISSING.items() if part in said), None)
    return (
        f"no GPU is used: {_first_line(said) if words is None else words.format(driver=_driver_cuda(said))}"
    )


def shared_wrongly(said: str) -> str | None:
    """What is wrong with the devices or ports of processes that train together; None where nothing of the kind is said.

    An error of this kind comes again when the same command is started again.
    """
    cause = _cause(said)
    if OUT_OF_MEMORY in cause:
        return None
    for part, words in SHARED_WRONGLY.items():
        if part in said:
            return words
    if LOST.search(cause) or not any(name in said for name in NCCL_REFUSES):
        return None
    return f"NCCL cannot work here: {_first_line(cause)}; NCCL_DEBUG=INFO says more"


def lost_contact(said: str) -> bool:
    """Whether a message of torch.distributed means that another process, or the way to it, is gone."""
    return (
        OUT_OF_MEMORY not in said and shared_wrongly(said) is None and LOST.search(_cause(said)) is not None
    )


def _cause(said: str) -> str:
    """What NCCL adds in the end; before it stands what errors of a kind may come from in general."""
    _, found, cause = said.partition("Last error:")
    return cause.strip() if found and cause.strip() else said


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given")


def _driver_cuda(said: str) -> str:
    """12.4 of "(found version 12040)"."""
    found = re.search(r"found version (\d+)", said)
    return f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}" if found else "an older version"

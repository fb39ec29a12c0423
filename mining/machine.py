"""The machine as a process sees it: the cores and the memory that it may use, and what was killed for want of it; any system."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
VMSTAT = Path("/proc/vmstat")
MEMINFO = Path("/proc/meminfo")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's mallopt(3): how many free bytes at the end of the heap it gives back, and which blocks get pages of their
own. Twice `_KEPT`, and `_KEPT`, are what it comes to by itself in a process with large arrays.
"""
_KEPT = 32 << 20
"""Bytes of the largest block that is kept: iresnet18's extraction takes 4.0 GB where none is, 4.4 with these, 5.0 with blocks of
up to 128 MiB, and 7.5 with all.
"""


def usable_cores() -> int:
    """The cores that this process may use: those that it is bound to, or fewer where a container has a quota.

    >>> 1 <= usable_cores() <= allowed_cores()
    True
    """
    allowed, quota = allowed_cores(), cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(cgroup: Path = CGROUP, own_groups: Path = OWN_GROUPS) -> float | None:
    """The cores' worth of time that this process and those beside it get, as of `docker run --cpus`; None without a limit.

    The least of its cgroups and those above them, v2 and v1.
    """
    quotas: list[float] = []
    for folder, old in _cgroups_of("cpu", cgroup, own_groups):
        if old:
            numbers = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
        else:
            numbers = " ".join(_lines(folder / "cpu.max")).split()
        if len(numbers) == 2 and all(map(str.isdecimal, numbers)):  # "max" and -1 are no limit
            quotas.append(int(numbers[0]) / int(numbers[1]))
    return min(quotas, default=None)


def _cgroups_of(controller: str, cgroup: Path, own_groups: Path) -> Iterator[tuple[Path, bool]]:
    """Folders of the cgroups that limit this process, the innermost first, and whether they are of version 1."""
    for path in _lines(own_groups):
        _, controllers, own = path.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top, place = cgroup / controller if controllers else cgroup, Path(own.lstrip("/"))
        for part in (place, *place.parents):
            yield top / part, bool(controllers)


def allowed_cores() -> int:
    """The cores that this process is bound to; of macOS and Windows, which know no such limit, all.

    >>> allowed_cores() >= 1
    True
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13 and later; -X cpu_count counts for it
        return os.process_cpu_count() or 1  # pyright: ignore[reportAttributeAccessIssue]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that programs may still take: of the machine, or fewer where its container or job has a limit.

    None where the system does not say (no Linux).
    """
    known = [size for size in (free_of_machine(), free_of_limit()) if size is not None]
    return min(known, default=None)


def free_of_machine(meminfo: Path = MEMINFO) -> int | None:
    """Bytes that programs may still take of this machine; None where it does not say (no Linux)."""
    return next((size * 1024 for size in _counts(meminfo, "MemAvailable:")), None)


def free_of_limit(cgroup: Path = CGROUP, own_groups: Path = OWN_GROUPS) -> int | None:
    """Bytes that are left of the limit of a container or job, as of `docker run --memory` or Slurm's; None without a limit.

    The least of its cgroups and those above them, v2 and v1. Files that the system keeps in memory count as taken there,
    and are given up for any program: they are free.
    """
    left: list[int] = []
    for folder, old in _cgroups_of("memory", cgroup, own_groups):
        names = _LIMIT_V1 if old else _LIMIT_V2
        numbers = [line for name in names[:2] for line in _lines(folder / name)]
        if len(numbers) == 2 and all(map(str.isdecimal, numbers)):  # "max" is no limit
            kept = sum(sum(_counts(folder / "memory.stat", name)) for name in names[2:])
            left.append(int(numbers[0]) - int(numbers[1]) + kept)
    return min(left, default=None)


_LIMIT_V2 = "memory.max", "memory.current", "inactive_file", "active_file"
_LIMIT_V1 = (
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file",
)  # fmt: skip
"""Files of the limit and of what is taken, then lines of memory.stat."""


def memory_kills(
    cgroup: Path = CGROUP, own_groups: Path = OWN_GROUPS, vmstat: Path = VMSTAT
) -> Sequence[int]:
    """How often the out-of-memory killer was at work: in this process's cgroups, v2 and v1, and on the machine.

    Counts that only grow; two calls are compared. Empty where nothing is known (no Linux).
    """
    files = [(vmstat, "oom_kill")]
    for path in _lines(own_groups):
        _, controllers, own = path.split(":", 2)
        if not controllers:
            files += [(cgroup / place / "memory.events", "oom_kill") for place in {own.lstrip("/"), ""}]
        elif "memory" in controllers.split(","):
            files += [
                (cgroup / "memory" / place / "memory.oom_control", "oom_kill")
                for place in {own.lstrip("/"), ""}
            ]
    return [count for file, name in files for count in _counts(file, name)]


def _counts(file: Path, name: str) -> list[int]:
    return [int(line.split()[1]) for line in _lines(file) if line.split()[:1] == [name]]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


ADVICE = "set num_workers or the batch size lower, or give it more memory"


def how_it_ended(code: int | None, kills_before: Sequence[int], kills: Sequence[int]) -> str:
    """What made a process end, by its exit code and the counts of `memory_kills` before and after.

    >>> how_it_ended(-9, [3], [4])
    'was killed by the out-of-memory killer (SIGKILL); set num_workers or the batch size lower, or give it more memory'
    """
    if code == -signal.SIGKILL:
        if list(kills) != list(kills_before):
            return f"was killed by the out-of-memory killer (SIGKILL); {ADVICE}"
        return f"was killed (SIGKILL), perhaps by the out-of-memory killer; {ADVICE}"
    if code == -signal.SIGBUS:
        return (
            f"was killed (SIGBUS): no memory for what it decodes, or a file became shorter under it; {ADVICE}"
        )
    if code is not None and code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"ended before its work (exit code {code})"


STATUS = Path("/proc/self/status")
TORCH_MEMORY = 260_000_000
"""Bytes, about, that torch and what comes with it take once they have worked on a CPU."""
RESERVE = 1.15
"""Memory that is counted becomes so much more by what the allocators keep."""


def peak_memory(status: Path = STATUS) -> int:
    """Bytes of memory that this process has had at most so far, its code and libraries included.

    0 where the system does not say (Windows).
    """
    for line in _lines(status):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, which has no /proc


def memory_with(more: float, *, torch_comes: bool = False) -> float:
    """Bytes of memory that this process will have had at its end, if it takes `more` beside what it had so far.

    Args:
        torch_comes: it will work with torch; what that takes is added while it is not loaded.

    >>> memory_with(2e9) - memory_with(1e9) >= 1e9
    True
    """
    libraries = TORCH_MEMORY if torch_comes and "torch" not in sys.modules else 0
    return peak_memory() + libraries + RESERVE * more


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks of up to 32 MiB for what is taken next, until `give_back_memory`.

    A pass of a network on the CPU takes and frees hundreds of megabytes. The system would give them anew each time, a page
    of 4 KiB after the other, which was a third of the time of a forward pass.
    """
    _set_malloc(_MMAP_THRESHOLD, _KEPT)
    _set_malloc(_TRIM_THRESHOLD, -1)


def give_back_memory() -> None:
    """Hand back to the system what Arrow and the C library keep of memory that is free, and keep little from now on.

    They keep as much as the largest work has had, and what comes next would be that much larger.
    """
    # Without Arrow in the process there is nothing of it to give back.
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    _set_malloc(_TRIM_THRESHOLD, 2 * _KEPT)
    with suppress(OSError, AttributeError, TypeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


def _set_malloc(what: int, value: int) -> None:
    with suppress(OSError, AttributeError, TypeError):  # of glibc alone
        ctypes.CDLL(None).mallopt(what, value)

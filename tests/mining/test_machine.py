"""Cores, memory and kills for want of memory, on any system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from subspace.mining import machine
from subspace.mining.machine import (
    allowed_cores,
    cpu_quota,
    free_memory,
    free_of_limit,
    free_of_machine,
    give_back_memory,
    memory_kills,
    memory_with,
    peak_memory,
    usable_cores,
)


def test_cores_that_a_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5}, raising=False)
    assert allowed_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert allowed_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert allowed_cores() == 1
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert allowed_cores() == 3


@pytest.mark.parametrize(("quota", "usable"), [(None, 8), (0.5, 1), (2.0, 2), (2.5, 3), (64.0, 8)])
def test_a_container_may_use_fewer(monkeypatch: pytest.MonkeyPatch, quota: float | None, usable: int) -> None:
    monkeypatch.setattr(machine, "allowed_cores", lambda: 8)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    assert usable_cores() == usable


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/pod/box\n", {"pod/cpu.max": "400000 100000\n", "pod/box/cpu.max": "max 100000\n"}, 4.0),
        ("0::/pod/box\n", {"pod/cpu.max": "400000 100000\n", "pod/box/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "damaged\n"}, None),
        (
            "4:memory:/box\n5:cpu,cpuacct:/box\n",
            {"cpu/box/cpu.cfs_quota_us": "150000\n", "cpu/box/cpu.cfs_period_us": "100000\n"},
            1.5,
        ),
        ("5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_quotas_of_a_cgroup(tmp_path: Path, groups: str, files: dict[str, str], quota: float | None) -> None:
    (own := tmp_path / "own").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path, own) == quota


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/box\n", "box/memory.events", "low 0\noom 2\noom_kill 7\noom_group_kill 0\n"),
        ("0::/elsewhere\n", "memory.events", "oom_kill 7\n"),
        (
            "5:cpu:/\n4:memory:/box\n0::/\n",
            "memory/box/memory.oom_control",
            "oom_kill_disable 0\noom_kill 7\n",
        ),
    ],
)
def test_kills_of_a_cgroup(tmp_path: Path, groups: str, file: str, text: str) -> None:
    own = tmp_path / "cgroup"
    own.write_text(groups)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    (tmp_path / "vmstat").write_text("nr_free_pages 9\noom_kill 11\n")
    assert memory_kills(tmp_path, own, tmp_path / "vmstat") == [11, 7]


KEPT = "anon 900\ninactive_file 2000\nactive_file 500\ntotal_inactive_file 3000\ntotal_active_file 0\n"


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"memory.max": "max\n", "memory.current": "3500\n"}, None),
        ("0::/\n", {"memory.max": "4000\n", "memory.current": "3500\n", "memory.stat": KEPT}, 3000),
        (
            "0::/job/step\n",  # as of Slurm: the job has the limit, its step has none
            {
                "job/memory.max": "9000\n",
                "job/memory.current": "1000\n",
                "job/step/memory.max": "max\n",
                "job/step/memory.current": "1000\n",
            },
            8000,
        ),
        ("0::/\n", {"memory.max": "damaged\n", "memory.current": "3500\n"}, None),
        (
            "5:cpu:/box\n4:memory:/box\n",
            {
                "memory/box/memory.limit_in_bytes": "9000\n",
                "memory/box/memory.usage_in_bytes": "5000\n",
                "memory/box/memory.stat": KEPT,
            },
            7000,
        ),
    ],
)
def test_memory_that_a_limit_leaves(
    tmp_path: Path, groups: str, files: dict[str, str], left: int | None
) -> None:
    (own := tmp_path / "own").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_of_limit(tmp_path, own) == left


def test_free_memory_is_that_of_the_machine_or_of_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 16 kB\nMemAvailable:  3 kB\n")
    assert free_of_machine(tmp_path / "meminfo") == 3072
    assert free_of_machine(tmp_path / "nothing") is None
    for machine_has, limit_has, free in ((9, 5, 5), (4, 5, 4), (9, None, 9), (None, None, None)):
        monkeypatch.setattr(machine, "free_of_machine", lambda size=machine_has: size)
        monkeypatch.setattr(machine, "free_of_limit", lambda size=limit_has: size)
        assert free_memory() == free


def test_no_linux(tmp_path: Path) -> None:
    assert memory_kills(tmp_path, tmp_path / "none", tmp_path / "none") == []


def test_memory_at_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  200000 kB\nVmRSS:\t  100000 kB\n")
    assert peak_memory(status) == 204_800_000
    monkeypatch.setattr(machine, "peak_memory", lambda: 100e6)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert memory_with(1e9) == pytest.approx(100e6 + 1.15e9)
    assert memory_with(1e9, torch_comes=True) == pytest.approx(100e6 + 260e6 + 1.15e9)
    monkeypatch.setitem(sys.modules, "torch", machine)
    assert memory_with(1e9, torch_comes=True) == pytest.approx(100e6 + 1.15e9)


def test_memory_that_was_free_again_counts() -> None:
    before = peak_memory()
    held = np.ones(50_000_000)
    del held
    assert peak_memory() - before > 300e6 or before > 1e9  # of a process that was large already


def resident() -> int:
    """Bytes of this process that are no file's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc and glibc")
def test_free_memory_is_given_back() -> None:
    pieces = [os.urandom(100_000) for _ in range(2_000)]  # too small for a mapping of its own each
    pieces = pieces[-1:]  # keeps the heap from shrinking
    before = resident()
    give_back_memory()
    assert before - resident() > 150e6
    assert pieces


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc and glibc")
def test_freed_memory_is_taken_again_in_place_of_fresh_pages_until_it_is_given_back() -> None:
    # In a process of its own: how malloc works is settled for the whole process.
    script = """
import resource
from pathlib import Path
from subspace.mining.machine import give_back_memory, keep_freed_memory
def resident():
    return 1024 * int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        [bytearray(30_000_000) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fresh = faults()
keep_freed_memory()
faults()
again, held = faults(), resident()
give_back_memory()
print(fresh > 50_000, again < 100, held - resident() > 50e6, faults() > 50_000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True True True True\n"

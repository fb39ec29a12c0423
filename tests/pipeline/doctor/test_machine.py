"""Cores, memory, disk, shared memory and decoder of machines that are made up, and of this one."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from subspace.pipeline.doctor import machine


def test_a_quota_of_the_container_is_said() -> None:
    assert machine.cores(allowed=8, quota=math.inf).advice is None
    limited = machine.cores(allowed=8, quota=2.5)
    assert "may use 2.5" in limited.value
    assert "export OMP_NUM_THREADS=3" in (limited.advice or "")
    assert machine.cores(allowed=2, quota=2.5).advice is None


def test_the_limit_of_the_container_counts_where_it_is_less() -> None:
    limited = "3.0 GB free, the limit of the container or the job"
    assert machine.memory(10**10, 3 * 10**9).value == limited
    assert machine.memory(10**9, 3 * 10**9).value == "1.0 GB free"


@pytest.mark.parametrize(
    ("size", "gpus", "advised"),
    [(64 << 20, 2, True), (8 << 30, 2, False), (64 << 20, 1, False), (64 << 20, 0, False)],
)
def test_little_shared_memory_is_advised_for_several_gpus(size: int, gpus: int, advised: bool) -> None:
    found = machine.shared_memory(size=size, gpus=gpus)
    assert (found.advice is not None) == advised
    if advised:
        assert "--shm-size" in (found.advice or "")


def test_disk(tmp_path: Path) -> None:
    assert machine.disk(tmp_path, free=10**12).advice is None
    assert machine.disk(tmp_path, free=10**9).advice
    assert machine.shared_memory(tmp_path / "none").advice is None


def test_the_decoder_decodes_an_image_like_a_face() -> None:
    data = machine.a_jpeg(112)
    assert Image.open(io.BytesIO(data)).size == (112, 112)
    assert 3_000 < len(data) < 12_000
    found = machine.decoder(seconds=0.01)
    assert found.facts["images_per_second"] > 10
    assert machine.decoder(seconds=0.01, turbo=False).advice


@pytest.mark.parametrize(("quota", "used"), [(2.5, 2.5), (math.inf, 8), (9.0, 8)])
def test_the_decoder_counts_the_cores_of_the_container(
    monkeypatch: pytest.MonkeyPatch, quota: float, used: float
) -> None:
    monkeypatch.setattr(machine, "allowed_cores", lambda: 8)
    found = machine.decoder(seconds=0.01, turbo=True, quota=quota)
    assert found.facts["cores"] == used
    a_core, all_of_them = (
        int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:images/s|by)", found.value)
    )
    assert all_of_them == pytest.approx(a_core * used, rel=0.01)
    assert found.value.endswith("by the 2.5 of the container" if used == 2.5 else "by 8 cores")


def test_all_of_this_machine() -> None:
    names = [finding.name for finding in machine.all_of_it()]
    assert names == ["cores", "memory", "disk", "shared memory", "decoder"]

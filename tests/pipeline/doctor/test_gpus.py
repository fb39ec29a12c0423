"""GPUs as they might be: idle, full, old, too new for this torch, hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace.pipeline.doctor import gpus
from subspace.pipeline.doctor.gpus import Gpu, all_gpus, driver, driver_version, faiss, gpu, why_none

GB = 10**9
H200 = Gpu("NVIDIA H200", 150 * GB, 149 * GB, (9, 0))
T4 = Gpu("Tesla T4", 16 * GB, 15 * GB, (7, 5))
BLACKWELL = Gpu("NVIDIA B200", 190 * GB, 189 * GB, (10, 0))
ADA = Gpu("NVIDIA L4", 24 * GB, 23 * GB, (8, 9))
BUILT = ["sm_75", "sm_80", "sm_90"]


@pytest.mark.parametrize(("found", "built", "advice"), [
    (H200, BUILT, None), (ADA, BUILT, None), (H200, [], None),
    (T4, BUILT, "precision=16-mixed"), (T4, ["sm_80", "sm_90"], "has no code for it, only for sm_80, sm_90"),
    (BLACKWELL, BUILT, "has no code"), (BLACKWELL, [*BUILT, "compute_90"], None), (BLACKWELL, [*BUILT, "sm_100a"], None),
    (H200._replace(free=GB), BUILT, "other programs have 149.0 GB of it"),
])  # fmt: skip
def test_a_gpu_and_what_is_wrong_with_it(found: Gpu, built: list[str], advice: str | None) -> None:
    finding = gpu(0, found, built)
    assert (finding.advice is None) if advice is None else (advice in (finding.advice or ""))
    assert finding.value.startswith(f"{found.name}, ")


def test_what_is_said_of_a_gpu() -> None:
    assert gpu(1, H200, BUILT) == (
        "cuda:1",
        "NVIDIA H200, 150.0 GB (149.0 GB free), compute capability 9.0, bf16",
        None,
        {"memory": 150 * GB, "free": 149 * GB, "capability": "9.0", "bf16": True},
        False,
    )
    assert "no bf16" in gpu(0, T4, BUILT).value


OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)  Sun Jul 27\nGCC version: 12"
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:"
)


@pytest.mark.parametrize(("text", "version"), [(OPEN, "580.65.06"), (CLOSED, "535.183.01"), ("odd", "of a version that it does not say")])  # fmt: skip
def test_the_driver_says_its_version(text: str, version: str, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(text)
    assert driver_version(tmp_path / "version") == version
    assert driver_version(tmp_path / "nothing") is None


def test_a_driver_without_a_gpu_for_torch_is_explained() -> None:
    assert driver(None, [], "", None).advice is None
    assert driver("580.65.06", [H200], "", None) == ("driver", "NVIDIA 580.65.06", None, {}, False)
    for said, visible, words in (
        ("Torch not compiled with CUDA enabled", None, "this torch has no CUDA"),
        (
            "The NVIDIA driver on your system is too old (found version 12020).",
            None,
            "knows CUDA 12.2, older",
        ),
        ("No CUDA GPUs are available", "", "CUDA_VISIBLE_DEVICES= hides"),
    ):
        assert words in (driver("535.1", [], said, visible).advice or "")


def test_faiss_that_leaves_them_idle_is_advised() -> None:
    assert "pip install faiss-gpu" in (faiss(1, 0, ["faiss-cpu"]).advice or "")
    assert faiss(1, 1, ["faiss-gpu"]) == ("FAISS sees", "1 GPU", None, {"gpus": 1}, False)
    assert faiss(0, 0, ["faiss-cpu"]).advice is None


def test_this_machine_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [finding.name for finding in all_gpus()]
    assert names[0] == "driver"
    assert names[-1] == "FAISS sees"
    monkeypatch.setattr(gpus, "torch_gpus", lambda: [H200, H200])
    assert [finding.name for finding in all_gpus()] == ["driver", "cuda:0", "cuda:1", "FAISS sees"]


def test_torch_says_why_it_sees_none() -> None:
    assert why_none()

"""Fewer GPUs than processes: refused before anything starts, by the option that mends it (training_processes.py)."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch

from subspace.mining.errors import InputError
from subspace.pipeline import cli
from subspace.pipeline.stages.training_processes import refuse_shared_gpus


@pytest.mark.parametrize(("processes", "gpus", "device", "words"), [
    (2, 1, None, "2 processes, 1 GPU: .* start one \\(--processes 1\\), or pass --device cpu"),
    (8, 4, "cuda", "8 processes, 4 GPUs: .* start 4 \\(--processes 4\\)"),
    (2, 1, "cuda:0", "2 processes, 1 GPU"),
    (2, 1, "cpu", None), (2, 2, None, None), (1, 1, None, None), (4, 0, None, None),
])  # fmt: skip
def test_processes_need_a_gpu_each(
    processes: int, gpus: int, device: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if words is None:
        refuse_shared_gpus(processes, device)
    else:
        with pytest.raises(InputError, match=words):
            refuse_shared_gpus(processes, device)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["train", "RUN", "--processes", "2", "--force"], {}),
        (["run", "RUN", "--processes", "2", "--force"], {}),
        (["train", "RUN", "--force"], {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}),
    ],
)  # fmt: skip
def test_two_processes_and_one_gpu_end_with_2_and_change_nothing(
    arguments: list[str],
    environment: dict[str, str],
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.*") if path.name != ".lock"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(
        sys, "argv", ["subspace", *(str(run) if word == "RUN" else word for word in arguments)]
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.splitlines()[-1].startswith("subspace: 2 processes, 1 GPU: ")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.*") if path.name != ".lock"} == before

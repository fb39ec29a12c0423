"""One run, its best network exported in every format."""

from __future__ import annotations

from pathlib import Path

import pytest
from forked_commands import run_command


@pytest.fixture(scope="session")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best network of a run: ONNX, int8, safetensors and torch, with its card. Tests must not write into it."""
    out = tmp_path_factory.mktemp("exports") / "all"
    formats = ["--to", "onnx", "--to", "safetensors", "--to", "torch", "--quantize", "int8"]
    done = run_command(["export", str(finished_run), *formats, "--out", str(out), "--quiet"], None)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out

"""`subspace export`, as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import subspace


def test_help_needs_neither_torch_nor_onnx() -> None:
    script = (
        "import sys; sys.argv = ['subspace', 'export', '--help']\n"
        "for name in ('torch', 'onnx', 'onnxruntime', 'faiss', 'pyarrow'):\n    sys.modules[name] = None\n"
        "from subspace.pipeline.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Example: subspace export runs/photos --to onnx" in done.stdout


def test_an_export_says_what_it_chose_and_wrote(finished_run: Path, tmp_path: Path) -> None:
    done = subspace(
        "export", finished_run / "round-000" / "checkpoint", "--to", "onnx", "--out", tmp_path / "out"
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, model, card = done.stdout.splitlines()
    assert first == f"exporting {finished_run}/round-000/checkpoint (as given)"
    assert model.startswith(f"{tmp_path}/out/model.onnx: 2.3 MB, ONNX, opset 18; embeddings within ")
    assert card == f"{tmp_path}/out/model.md: data, training, figures, preprocessing and use"


def test_errors_are_one_line_and_exit_2(finished_run: Path, tmp_path: Path) -> None:
    for words, expected in (
        ((tmp_path, "--to", "onnx"), "is neither a checkpoint"),
        ((finished_run, "--to", "tflite"), "--to tflite: give onnx, safetensors, torch"),
        ((finished_run, "--to", "onnx", "--opset", "12"), "--opset 12: torch writes 18 and later"),
    ):
        done = subspace("export", *words, "--out", tmp_path / "out")
        assert (done.returncode, done.stdout) == (2, "")
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1

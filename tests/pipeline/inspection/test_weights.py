"""Safetensors headers, against the library that wrote the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from subspace.mining import InputError
from subspace.pipeline.inspection.weights import read_tensor_headers, summarize_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    tensors = {
        "a": np.zeros((2, 3), np.float32),
        "b": np.zeros((4,), np.float16),
        "c": np.array(7, np.int64),
        "d": np.zeros((0, 5), np.float32),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_tensors_and_their_numbers(weights: Path) -> None:
    found = {
        header.name: (header.shape, header.dtype, header.size) for header in read_tensor_headers(weights)
    }
    assert found == {
        "a": ((2, 3), "F32", 24), "b": ((4,), "F16", 8), "c": ((), "I64", 8), "d": ((0, 5), "F32", 0)
    }  # fmt: skip
    summary = summarize_weights(weights)
    assert summary.facts["tensors"] == 4
    assert summary.facts["numbers"] == 6 + 4 + 1
    assert summary.facts["by_tensor"]["a"] == {"shape": [2, 3], "dtype": "F32"}
    assert ["a", "2", "x", "3", "F32", "6", "24", "B"] in [line.split() for line in summary.lines()]


def test_every_cut_is_noticed(weights: Path) -> None:
    whole = weights.read_bytes()
    for size in range(len(whole)):
        weights.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"model\.safetensors is not a readable safetensors file"):
            read_tensor_headers(weights)


def test_a_long_list_of_tensors_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "many.safetensors"
    save_file({f"t{number:03d}": np.zeros(1, np.float32) for number in range(50)}, path)
    summary = summarize_weights(path)
    assert len(summary.facts["by_tensor"]) == 50
    assert any("the first 30 of 50; --json has all" in line for line in summary.lines())
    assert len(summary.lines()) < 45

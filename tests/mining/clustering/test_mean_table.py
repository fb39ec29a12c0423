"""Slices of the means on disk, whatever the row groups are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.clustering import mean_table
from subspace.mining.clustering.mean_blocks import MeanBlocks
from subspace.mining.clustering.mean_table import MeanTable
from subspace.mining.errors import InputError
from subspace.mining.schemas import vector


def write(path: Path, means: np.ndarray, rows_per_group: int) -> None:
    n, D = means.shape
    table = pa.table(
        {
            "identity_id": pa.array(np.arange(n), pa.int32()),
            "identity": pa.array([str(i) for i in range(n)]),
            "images": pa.array(np.ones(n), pa.int32()),
            "mean": pa.FixedSizeListArray.from_arrays(pa.array(means.ravel()), type=vector(D)),
            "spread": pa.array(np.zeros(n), pa.float32()),
        }
    )
    pq.write_table(table, path, row_group_size=rows_per_group)


def means_of(n: int, D: int = 3) -> np.ndarray:
    means = np.random.default_rng(0).standard_normal((n, D)).astype(np.float32)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 45), st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 3))
def test_slices_are_those_of_an_array(
    tmp_path_factory: pytest.TempPathFactory, n: int, group: int, start: int, stop: int, step: int
) -> None:
    path, means = tmp_path_factory.mktemp("means") / "identities.parquet", means_of(n)
    write(path, means, group)
    table = MeanTable(path)
    assert table.shape == (n, 3)
    assert len(table) == n
    np.testing.assert_array_equal(table[start:stop:step], means[start:stop:step])
    np.testing.assert_array_equal(table[:], means)


def test_blocks_of_a_table_are_its_rows_in_order(tmp_path: Path) -> None:
    means = means_of(40_000)
    write(tmp_path / "identities.parquet", means, 7_000)
    blocks = MeanBlocks(MeanTable(tmp_path / "identities.parquet"))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), means)
    wanted = np.random.default_rng(1).integers(0, 40_000, 500)
    np.testing.assert_array_equal(blocks.rows(wanted), means[wanted])


def test_an_array_too_large_for_memory_is_a_map_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = means_of(1000)
    write(tmp_path / "identities.parquet", means, 300)
    table = MeanTable(tmp_path / "identities.parquet")
    assert not isinstance(table.as_array(tmp_path), np.memmap)
    np.testing.assert_array_equal(table.as_array(tmp_path, np.arange(1000) > 500), means[501:])
    monkeypatch.setattr(mean_table, "IN_MEMORY", 100)
    mapped = table.as_array(tmp_path)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, means)
    only = np.arange(1000) % 7 != 3
    some = table.as_array(tmp_path, only)
    assert isinstance(some, np.memmap)
    np.testing.assert_array_equal(some, means[only])
    assert [path.name for path in tmp_path.iterdir()] == ["identities.parquet"]  # nothing is left behind
    with pytest.raises(InputError, match="cannot write"):
        table.as_array(tmp_path / "nowhere")


def test_another_file_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        MeanTable(tmp_path / "identities.parquet")
    pq.write_table(pa.table({"mean": [1.0]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column 'mean'"):
        MeanTable(tmp_path / "other.parquet")

"""A plan gives every step the batch that was written for it, and says in one line what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_plans import plan_table, random_rows, write_plan

from subspace.mining.errors import InputError, StaleArtifactError
from subspace.train.data.plan_reader import Plan


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=12), st.randoms())
def test_every_step_is_the_batch_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], random: Any
) -> None:
    rows = random_rows(sum(map(sum, parts)))
    plan = Plan(write_plan(tmp_path_factory.mktemp("plan"), rows, parts))
    assert len(plan) == len(rows)
    assert plan.fingerprint == "f"
    steps = list(range(len(rows)))
    random.shuffle(steps)  # any order, not only ascending
    for step in steps:
        found = plan[step]
        assert found.dtype == np.int64
        assert found.tolist() == rows[step].tolist()


def test_steps_outside_the_plan_are_index_errors(tmp_path: Path) -> None:
    plan = Plan(str(write_plan(tmp_path, random_rows(5), [[3], [2]])))
    for step in (-1, 5, 100):
        with pytest.raises(IndexError, match=f"step {step} of a plan of 5"):
            plan[step]
    assert len(list(plan)) == 5  # type: ignore[call-overload]  # iteration ends at the IndexError


def test_a_kill_while_a_part_was_written_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    write_plan(tmp_path, random_rows(5), [[5]])
    (tmp_path / ".part-00001.parquet.123.tmp").write_bytes(b"half")
    (tmp_path / "._part-00000.parquet").write_bytes(b"what macOS lays beside a file on other disks")
    assert len(Plan(tmp_path)) == 5


def test_missing_and_damaged_plans_are_told_in_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="holds no plan; run `subspace plan` first"):
            Plan(folder)
    write_plan(tmp_path, random_rows(10), [[5], [5]])
    whole = (tmp_path / "part-00001.parquet").read_bytes()
    (tmp_path / "part-00001.parquet").write_bytes(whole[:-10])
    with pytest.raises(InputError) as error:
        Plan(tmp_path)
    assert "part-00001.parquet is not a readable Parquet file" in str(error.value)
    assert "\n" not in str(error.value)
    pq.write_table(pa.table({"step": [1]}), tmp_path / "part-00001.parquet")
    with pytest.raises(InputError, match="is not a plan table"):
        Plan(tmp_path)
    pq.write_table(plan_table(0, random_rows(5)), tmp_path / "part-00000.parquet")
    with pytest.raises(StaleArtifactError, match="no fingerprint"):
        Plan(tmp_path)


def test_damage_inside_a_plan_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = write_plan(tmp_path, random_rows(200), [[200]]) / "part-00000.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[4 : len(damaged) // 2] = bytes(len(damaged) // 2 - 4)
    path.write_bytes(damaged)
    plan = Plan(tmp_path)
    with pytest.raises(InputError):
        plan[0]

"""A plan on disk is the plan that was drawn, however it is cut and whoever reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader, Dataset

from subspace.mining.manifest import IdentityImages
from subspace.mining.parquet_tables import fingerprint_in
from subspace.mining.planning.batch_plan import PlanBlock, plan_batches
from subspace.mining.planning.plan_table import write_plan
from subspace.mining.planning.settings import PlanConfig
from subspace.mining.schemas import PLAN
from subspace.train.data.plan_reader import Plan
from subspace.train.data.plan_sampler import PlanBatchSampler

IMAGES = IdentityImages(np.arange(0, 600, 2, dtype=np.int32), np.arange(301) * 3, np.arange(900) + 7)
SUBSPACE = (np.arange(300) % 3).astype(np.int32)
CONFIG = PlanConfig(strategy="subspace", steps=1500, P=6, K=2)


def blocks() -> list[PlanBlock]:
    return list(plan_batches(IMAGES, SUBSPACE, CONFIG))


class Numbers(Dataset[int]):
    """Anybody's dataset."""

    def __getitem__(self, index: int) -> int:
        return index


def test_the_rows_are_the_blocks(tmp_path: Path) -> None:
    write_plan(str(tmp_path / "plan"), blocks(), IMAGES, "made of this")
    table = pq.read_table(tmp_path / "plan" / "part-00000.parquet")
    drawn = blocks()
    assert table["step"].to_pylist() == list(range(1500))
    assert table["subspace_id"].to_pylist() == np.concatenate([b.subspace_id for b in drawn]).tolist()
    identity = IMAGES.identity_id[np.concatenate([b.identity for b in drawn])]
    assert table["identity_ids"].to_pylist() == identity.tolist()
    assert table["image_ids"].to_pylist() == np.concatenate([b.image_id for b in drawn]).tolist()
    assert fingerprint_in(tmp_path / "plan" / "part-00000.parquet", PLAN) == "made of this"


def test_the_same_plan_is_the_same_bytes_and_row_groups_do_not_matter(tmp_path: Path) -> None:
    for name, size in (("a", 1024), ("b", 1024), ("c", 100), ("d", 5000)):
        write_plan(tmp_path / name, blocks(), IMAGES, row_group_size=size)
    files = {name: tmp_path / name / "part-00000.parquet" for name in "abcd"}
    assert files["a"].read_bytes() == files["b"].read_bytes()
    assert pq.read_metadata(files["c"]).num_row_groups == 15
    assert pq.read_metadata(files["d"]).num_row_groups == 1
    for name in "cd":
        assert pq.read_table(files[name]).equals(pq.read_table(files["a"]))
        assert fingerprint_in(files[name], PLAN) == fingerprint_in(files["a"], PLAN)  # of the content


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_workers_do_not_change_what_is_read(tmp_path: Path, num_workers: int) -> None:
    write_plan(tmp_path / "plan", blocks(), IMAGES, row_group_size=64)
    sampler = PlanBatchSampler(tmp_path / "plan", 1400, keep_repeats=True)
    read = [batch.tolist() for batch in DataLoader(Numbers(), batch_sampler=sampler, num_workers=num_workers)]
    expected = np.concatenate([block.image_id for block in blocks()])[1400:]
    assert read == expected.tolist()
    assert Plan(tmp_path / "plan")[1400].tolist() == read[0]


@pytest.mark.parametrize("after", [0, 1])
def test_an_error_while_drawing_leaves_nothing(tmp_path: Path, after: int) -> None:
    def broken() -> object:
        yield from blocks()[:after]
        raise KeyError("drawn badly")

    with pytest.raises(KeyError, match="drawn badly"):
        write_plan(tmp_path / "plan", broken(), IMAGES)  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())

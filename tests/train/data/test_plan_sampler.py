"""The plan steers anybody's data loader, in one process or in several that share each batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset
from written_plans import random_rows, write_plan

from subspace.train.data.plan_reader import Plan
from subspace.train.data.plan_sampler import PlanBatchSampler


class Numbers(Dataset[int]):
    """Anybody's dataset."""

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("start_step", [0, 4, 7, 9])
def test_the_plan_steers_anybodys_data_loader(tmp_path: Path, num_workers: int, start_step: int) -> None:
    rows = random_rows(7)
    sampler = PlanBatchSampler(write_plan(tmp_path, rows, [[2, 3], [2]]), start_step)
    loader = DataLoader(Numbers(), batch_sampler=sampler, num_workers=num_workers)
    assert len(loader) == max(0, 7 - start_step)
    for _ in range(2 if num_workers == 0 else 1):  # again from the start in the next epoch
        assert [batch.tolist() for batch in loader] == rows[start_step:].tolist()


def test_a_sampler_takes_an_open_plan_too(tmp_path: Path) -> None:
    plan = Plan(write_plan(tmp_path, random_rows(3), [[3]]))
    assert list(PlanBatchSampler(plan, 1)) == [plan[1].tolist(), plan[2].tolist()]
    assert all(type(image_id) is int for image_id in next(iter(PlanBatchSampler(plan))))

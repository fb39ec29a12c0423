"""The plan steers anybody's data loader, in one process or in several that share each batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard
from several_processes import run_in
from shared_batches import Numbers, read_share
from torch.utils.data import BatchSampler, DataLoader
from written_plans import random_rows, write_plan

from subspace.mining.errors import InputError
from subspace.train.data.plan_reader import Plan
from subspace.train.data.plan_sampler import PlanBatchSampler


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


REPEATED = np.array([[5, 5, 5, 1, 2, 3], [0, 1, 2, 3, 4, 5], [7, 8, 7, 9, 9, 9]])
"""Two identities of up to three images: the last batch has three different ones."""


@pytest.fixture
def repeated(tmp_path: Path) -> Path:
    return write_plan(tmp_path / "repeated", REPEATED, [[2], [1]])


@pytest.mark.parametrize("keep_repeats", [False, True])
def test_shares_are_the_whole_batch_cut_in_order(repeated: Path, keep_repeats: bool) -> None:
    whole = list(PlanBatchSampler(repeated, keep_repeats=keep_repeats))
    assert whole == [batch if keep_repeats else list(dict.fromkeys(batch)) for batch in REPEATED.tolist()]
    samplers = [
        PlanBatchSampler(repeated, keep_repeats=keep_repeats, rank=rank, world_size=2) for rank in (0, 1)
    ]
    assert [len(sampler) for sampler in samplers] == [3, 3]
    for first, second, batch in zip(*samplers, whole, strict=True):
        assert first + second == batch
        assert abs(len(first) - len(second)) <= 1


def test_it_is_a_batch_sampler(repeated: Path) -> None:
    sampler = PlanBatchSampler(repeated, start_step=1)
    assert isinstance(sampler, BatchSampler)
    assert (sampler.batch_size, sampler.drop_last) == (6, False)
    assert list(sampler.sampler) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert PlanBatchSampler(repeated, rank=1, world_size=2).batch_size == 3


def test_a_plan_is_not_shared_by_more_processes_than_it_has_identities(repeated: Path) -> None:
    with pytest.raises(InputError, match="world_size=3 processes cannot share batches of 2 identities"):
        PlanBatchSampler(repeated, rank=0, world_size=3)
    for rank in (-1, 2):
        with pytest.raises(InputError, match=rf"rank={rank} of world_size=2; ranks go from 0 to 1"):
            PlanBatchSampler(repeated, rank=rank, world_size=2)


@pytest.mark.slow
def test_two_processes_read_each_batch_between_them(repeated: Path, tmp_path: Path) -> None:
    first, second = run_in(2, tmp_path / "processes", read_share, str(repeated))
    assert [a + b for a, b in zip(first, second, strict=True)] == list(PlanBatchSampler(repeated))


def test_accelerate_leaves_the_batches_of_one_process_alone(repeated: Path) -> None:
    loader = Accelerator(cpu=True).prepare(DataLoader(Numbers(), batch_sampler=PlanBatchSampler(repeated)))
    assert [batch.tolist() for batch in loader] == list(PlanBatchSampler(repeated))


def test_accelerate_can_split_full_batches_itself(repeated: Path) -> None:
    """With `DataLoaderConfiguration(split_batches=True)`; it skips batches that are not full."""
    whole = PlanBatchSampler(repeated, keep_repeats=True)
    for rank in (0, 1):
        split = BatchSamplerShard(whole, 2, rank, split_batches=True)
        assert list(split) == list(PlanBatchSampler(repeated, keep_repeats=True, rank=rank, world_size=2))

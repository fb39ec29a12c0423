"""Batches by step: what the plan says, decoded and augmented the same by any number of workers."""

from __future__ import annotations

import io
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from torch.utils.data import DataLoader, Dataset

from subspace.mining.errors import InputError, StaleArtifactError
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import parquet_writer
from subspace.mining.schemas import PLAN
from subspace.train.data.batches import (
    AugmentConfig,
    DecodedBatches,
    ImageBatch,
    Plan,
    PlanBatchSampler,
    load_batches,
)
from subspace.train.data.images import BadImage, ImageStore


def plan_table(first: int, rows: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "step": pa.array(range(first, first + len(rows)), pa.int64()),
            "subspace_id": pa.array([0] * len(rows), pa.int32()),
            "identity_ids": pa.array([[0, 1]] * len(rows), pa.list_(pa.int32())),
            "image_ids": pa.array(rows.tolist(), pa.list_(pa.int64())),
        }
    )


def write_plan(folder: Path, rows: np.ndarray, parts: list[list[int]]) -> Path:
    """A plan of `rows`, as files with row groups of the given numbers of batches."""
    first = 0
    for number, groups in enumerate(parts):
        path = folder / f"part-{number:05d}.parquet"
        with parquet_writer(path, PLAN, plan_table(0, rows).schema, "f") as writer:
            for size in groups:
                writer.write_table(plan_table(first, rows[first : first + size]))
                first += size
    return folder


def random_rows(batches: int, images: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1 << 40, (batches, images))


# --- plans -----------------------------------------------------------------------------------------------


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


# --- decoded batches -------------------------------------------------------------------------------------

SIZE, BAD = 9, {3, 7}


def pixels(image_id: int) -> np.ndarray:
    return np.random.default_rng(image_id).integers(0, 256, (3, SIZE, SIZE), np.uint8)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """Twelve images, of which 3 and 7 are unreadable."""
    images = []
    for image_id in range(12):
        buffer = io.BytesIO()
        Image.fromarray(pixels(image_id).transpose(1, 2, 0)).save(buffer, "PNG")
        images.append(b"" if image_id in BAD else buffer.getvalue())
    nothing = pa.nulls(12, pa.int64())
    table = pa.table(
        {"uri": [""] * 12, "offset": nothing, "length": nothing, "image": pa.array(images, pa.binary())}
    )
    return ImageStore(Manifest(Path("m.parquet"), table, "f"))


BATCHES = np.array([[5, 1, 5, 0, 1, 2], [3, 4, 7, 4, 3, 6], [3, 7, 3, 7, 3, 7], [8, 9, 10, 11, 0, 1]])


def batches_of(number: int) -> np.ndarray:
    return BATCHES[number]


def assert_same(a: ImageBatch, b: ImageBatch) -> None:
    assert (a.step, a.bad) == (b.step, b.bad)
    np.testing.assert_array_equal(a.image_id, b.image_id)
    assert torch.equal(a.images, b.images)


@pytest.mark.parametrize("keep_repeats", [False, True])
def test_a_batch_is_its_readable_images_and_a_list_of_the_others(
    store: ImageStore, keep_repeats: bool
) -> None:
    dataset = DecodedBatches(store, batches_of, SIZE, keep_repeats=keep_repeats)
    for number, wanted in enumerate(BATCHES.tolist()):
        if not keep_repeats:
            wanted = list(dict.fromkeys(wanted))  # each once, where it stands first
        batch = dataset[number]
        readable = [image_id for image_id in wanted if image_id not in BAD]
        assert batch.step == number
        assert batch.image_id.tolist() == readable
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (len(readable), 3, SIZE, SIZE)
        for image_id, image in zip(readable, batch.images.numpy(), strict=True):
            np.testing.assert_array_equal(image, pixels(image_id))
        assert [bad.image_id for bad in batch.bad] == [image_id for image_id in wanted if image_id in BAD]
        assert all(isinstance(bad, BadImage) and bad.reason for bad in batch.bad)


AUGMENT = AugmentConfig(flip=0.5, shift=2)


def possible_views(image: np.ndarray, config: AugmentConfig) -> set[bytes]:
    """Every mirrored and moved copy of an image, edges repeated, pixel by pixel."""
    views = set()
    for mirrored in {False, config.flip > 0} - ({False} if config.flip == 1 else set()):
        source = image[:, :, ::-1] if mirrored else image
        for down in range(-config.shift, config.shift + 1):
            for right in range(-config.shift, config.shift + 1):
                rows = [min(max(y + down, 0), SIZE - 1) for y in range(SIZE)]
                columns = [min(max(x + right, 0), SIZE - 1) for x in range(SIZE)]
                views.add(source[:, rows][:, :, columns].tobytes())
    return views


@pytest.mark.parametrize(
    "config", [AUGMENT, AugmentConfig(flip=1), AugmentConfig(shift=3), AugmentConfig(flip=1, shift=1)]
)
def test_augmented_images_are_mirrored_and_moved(store: ImageStore, config: AugmentConfig) -> None:
    expected = {image_id: possible_views(pixels(image_id), config) for image_id in (8, 9)}
    seen: dict[int, set[bytes]] = {8: set(), 9: set()}
    dataset = DecodedBatches(store, lambda _: np.array([8, 9]), SIZE, augment=config)
    for number in range(150 if config.shift < 3 else 400):
        batch = dataset[number]
        for image_id, image in zip(batch.image_id.tolist(), batch.images.numpy(), strict=True):
            view = image.tobytes()
            assert view in expected[image_id]
            seen[image_id].add(view)
    for image_id in (8, 9):
        assert len(seen[image_id]) > 0.9 * len(expected[image_id])


def test_augmentation_is_a_function_of_seed_and_number(store: ImageStore) -> None:
    def images(number: int, seed: tuple[int, ...] = (0, 0)) -> torch.Tensor:
        dataset = DecodedBatches(store, lambda _: BATCHES[3], SIZE, augment=AUGMENT, seed=seed)
        torch.manual_seed(number)
        return dataset[number].images

    first = images(0)
    images(5)
    assert torch.equal(images(0), first)
    for other in (images(1), images(0, (1, 0)), images(0, (0, 1))):
        assert not torch.equal(other, first)


def test_repeats_are_augmented_each_by_itself(store: ImageStore) -> None:
    copies = DecodedBatches(store, lambda _: np.full(20, 8), SIZE, augment=AUGMENT, keep_repeats=True)[
        0
    ].images
    assert len(torch.unique(copies, dim=0)) > 5
    once = DecodedBatches(store, lambda _: np.full(20, 8), SIZE, augment=AUGMENT)[0]
    assert once.image_id.tolist() == [8]


def test_workers_change_nothing(store: ImageStore) -> None:
    numbers = [3, 0, 2, 1, 3]
    dataset = DecodedBatches(store, batches_of, SIZE, augment=AUGMENT, seed=(1, 2))
    expected = [dataset[number] for number in numbers]
    for num_workers in (0, 1, 2):
        found = list(load_batches(dataset, numbers, num_workers))
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b)


def test_a_later_start_gives_the_rest(store: ImageStore) -> None:
    dataset = DecodedBatches(store, batches_of, SIZE, augment=AUGMENT)
    whole = list(load_batches(dataset, range(4), 0))
    for start in (1, 3, 4):
        rest = list(load_batches(dataset, range(start, 4), 0))
        assert len(rest) == 4 - start
        for a, b in zip(rest, whole[start:], strict=True):
            assert_same(a, b)


def test_signals_to_the_group_are_not_for_workers(store: ImageStore) -> None:
    """torchrun sends them to all processes of a group; the one that trains needs its batches until it has saved itself."""
    dataset = DecodedBatches(store, batches_of, SIZE)
    batches = load_batches(dataset, [0, 1, 2, 3] * 5, 2)
    next(batches), next(batches)  # one from each worker, so that both are ready
    workers = multiprocessing.active_children()
    groups = {os.getpgid(worker.pid or 0) for worker in workers}
    assert len(groups | {os.getpgrp()}) == 3
    assert len(list(batches)) == 18
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize(
    "num_workers",
    [
        0,
        1,
    ],
)
def test_a_remote_image_is_told_in_one_line(num_workers: int) -> None:
    nothing = pa.nulls(1, pa.int64())
    table = pa.table({"uri": ["s3://bucket/a.png"], "offset": nothing, "length": nothing})
    dataset = DecodedBatches(
        ImageStore(Manifest(Path("m.parquet"), table, "f")), lambda _: np.array([0]), SIZE
    )
    with pytest.raises(InputError, match="only local files") as error:
        list(load_batches(dataset, [0], num_workers))
    assert "\n" not in str(error.value)


def test_an_augmentation_that_does_nothing_is_inactive() -> None:
    assert not AugmentConfig().active
    assert AugmentConfig(flip=0.1).active
    assert AugmentConfig(shift=1).active
    for wrong in ({"flip": 1.5}, {"shift": -1}, {"rotate": 3}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            AugmentConfig(**wrong)

"""Batches by step: decoded, and augmented the same by any number of workers.

Covers train/data/augmentation.py and train/data/settings.py too.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.train.data.augmentation import augmented
from subspace.train.data.batches import DecodedBatches, ImageBatch, load_batches
from subspace.train.data.images import BadImage, ImageStore
from subspace.train.data.settings import AugmentConfig

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


def test_images_that_are_not_square_move_along_both_sides() -> None:
    image = np.arange(5 * 8, dtype=np.uint8).reshape(1, 5, 8, 1).repeat(3, 3)
    moved = augmented(
        image.repeat(200, 0), AugmentConfig(shift=2), np.random.default_rng(0), np.arange(200), 200
    )
    views = set()
    for down in range(-2, 3):
        for right in range(-2, 3):
            rows, columns = np.clip(np.arange(5) + down, 0, 4), np.clip(np.arange(8) + right, 0, 7)
            views.add(image[0][rows][:, columns].tobytes())
    assert {view.tobytes() for view in moved} == views


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


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_that_are_kept_stay_as_they_are(store: ImageStore, num_workers: int) -> None:
    """Workers use their shared memory again and again."""
    numbers = [0, 1, 2, 3] * 10
    dataset = DecodedBatches(store, batches_of, SIZE, augment=AUGMENT)
    expected = [dataset[number] for number in range(4)]
    for a, b in zip(list(load_batches(dataset, numbers, num_workers)), expected * 10, strict=True):
        assert_same(a, b)
        assert a.images.is_contiguous(memory_format=torch.channels_last) or len(a.images) == 0


def test_a_batch_in_pinned_memory_is_the_same(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # which asks for CUDA
    batch = DecodedBatches(store, batches_of, SIZE)[1]
    assert_same(batch.pin_memory(), batch)


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
    table = pa.table({"uri": ["ftp://bucket/a.png"], "offset": nothing, "length": nothing})
    dataset = DecodedBatches(
        ImageStore(Manifest(Path("m.parquet"), table, "f")), lambda _: np.array([0]), SIZE
    )
    with pytest.raises(InputError, match="remote files are read from") as error:
        list(load_batches(dataset, [0], num_workers))
    assert "\n" not in str(error.value)


def test_an_augmentation_that_does_nothing_is_inactive() -> None:
    assert not AugmentConfig().active
    assert AugmentConfig(flip=0.1).active
    assert AugmentConfig(shift=1).active
    for wrong in ({"flip": 1.5}, {"shift": -1}, {"rotate": 3}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            AugmentConfig(**wrong)

"""Images changed on the training's device: the same for any number of workers, processes and chunks."""

from __future__ import annotations

import doctest
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from waits import CountedWaits

from subspace.mining import InputError
from subspace.mining.errors import OwnCodeError
from subspace.mining.manifest import Manifest
from subspace.train import augmented_batches as module
from subspace.train.augmented_batches import augment_batches, change_pixels
from subspace.train.data import drawn_changes, settings
from subspace.train.data.batches import DecodedBatches, ImageBatch, load_batches
from subspace.train.data.images import ImageStore
from subspace.train.data.settings import AugmentConfig
from subspace.train.network_pass import NetworkPass
from subspace.train.networks.backbone import Backbone, ImageInput

SIZE, BAD, CPU = 12, {3, 7}, torch.device("cpu")
EVERYTHING = AugmentConfig(
    flip=0.5, shift=1, crop=(0.5, 1), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1,
    grey=0.3, blur=0.5, low_resolution=0.5, erase=0.5,
)  # fmt: skip
BATCHES = np.array(
    [[5, 1, 5, 0, 1, 2, 11], [3, 4, 7, 4, 3, 6, 1], [3, 7, 3, 7, 3, 7, 3], [8, 9, 10, 11, 0, 1, 2]]
)


def batches_of(number: int) -> np.ndarray:
    return BATCHES[number]


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """Twelve images, of which 3 and 7 are unreadable."""
    images = []
    for image_id in range(12):
        pixels = np.random.default_rng(image_id).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
        images.append(b"" if image_id in BAD else buffer.getvalue())
    nothing = pa.nulls(12, pa.int64())
    table = pa.table(
        {"uri": [""] * 12, "offset": nothing, "length": nothing, "image": pa.array(images, pa.binary())}
    )
    return ImageStore(Manifest(Path("m.parquet"), table, "f"))


def changed(
    store: ImageStore,
    config: AugmentConfig = EVERYTHING,
    *,
    num_workers: int = 0,
    process: tuple[int, int] = (0, 1),
    seed: tuple[int, ...] = (0, 2),
    numbers: tuple[int, ...] = (0, 1, 2, 3),
) -> list[ImageBatch]:
    dataset = DecodedBatches(
        store, batches_of, SIZE, augment=config, seed=seed, keep_repeats=True, process=process
    )
    return list(augment_batches(load_batches(dataset, numbers, num_workers), dataset, CPU))


def by_step(batches: list[ImageBatch]) -> dict[int, Tensor]:
    return {batch.step: batch.images for batch in batches}


def test_images_change_and_stay_images(store: ImageStore) -> None:
    before, after = changed(store, AugmentConfig(flip=0.5, shift=1)), changed(store)
    for a, b in zip(before, after, strict=True):
        assert (a.step, a.bad, a.image_id.tolist()) == (b.step, b.bad, b.image_id.tolist())
        assert (b.images.dtype, b.images.shape) == (torch.uint8, a.images.shape)
        if len(b.images):
            assert not torch.equal(a.images, b.images)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(store: ImageStore, num_workers: int) -> None:
    for a, b in zip(changed(store), changed(store, num_workers=num_workers), strict=True):
        assert torch.equal(a.images, b.images)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_that_share_a_batch_make_the_images_of_one(store: ImageStore, count: int) -> None:
    """With unreadable images, which have places too."""
    shares = [changed(store, process=(number, count)) for number in range(count)]
    for whole, *parts in zip(changed(store), *shares, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)


def test_a_later_start_gives_the_rest(store: ImageStore) -> None:
    whole, rest = by_step(changed(store)), by_step(changed(store, numbers=(3, 2)))
    assert all(torch.equal(images, whole[step]) for step, images in rest.items())


def test_seed_and_step_change_images(store: ImageStore) -> None:
    first = changed(store)[3].images
    assert not torch.equal(changed(store, seed=(1, 2))[3].images, first)
    assert not torch.equal(changed(store, seed=(0, 3))[3].images, first)


def test_repeats_are_changed_each_by_itself(store: ImageStore) -> None:
    batch = changed(store, AugmentConfig(crop=(0.5, 1)))[0]
    assert batch.image_id[0] == batch.image_id[2]
    assert not torch.equal(batch.images[0], batch.images[2])


def test_nothing_to_do_is_nothing_done(store: ImageStore) -> None:
    for config in (AugmentConfig(), AugmentConfig(flip=0.5, shift=2)):
        dataset = DecodedBatches(store, batches_of, SIZE, augment=config)
        batches = iter([dataset[0]])
        assert augment_batches(batches, dataset, CPU) is batches  # pyright: ignore[reportArgumentType]


def test_pieces_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (23, 3, 10, 14), np.uint8))
    drawn = drawn_changes.draw_changes(EVERYTHING, (0,), 0, np.arange(23), 23)
    whole = change_pixels(images, drawn)
    monkeypatch.setattr(module, "VALUES_AT_ONCE", {"cpu": 3 * 10 * 14 * 4})
    assert torch.equal(change_pixels(images, drawn), whole)
    assert torch.equal(change_pixels(images.to(memory_format=torch.channels_last), drawn), whole)


def batch_of(images: int) -> ImageBatch:
    pixels = np.random.default_rng(1).integers(0, 256, (images, 3, 30, 22), np.uint8)
    return ImageBatch(0, np.arange(images), torch.from_numpy(pixels), [])


def test_a_gpu_would_not_be_waited_for() -> None:
    with CountedWaits() as waits:
        module.ImageChanges(EVERYTHING, (0,), CPU)(batch_of(40))
    assert waits.seen == []


@pytest.mark.cuda
def test_a_gpu_makes_the_images_of_a_cpu_to_a_level_and_is_not_waited_for() -> None:
    batch, gpu = batch_of(40), torch.device("cuda")
    there = replace(batch, images=batch.images.to(gpu))
    change = module.ImageChanges(EVERYTHING, (0,), gpu)
    change(there)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = change(there).images
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wanted = module.ImageChanges(EVERYTHING, (0,), CPU)(batch).images
    apart = (found.cpu().int() - wanted.int()).abs()
    # A level of a crop that is rounded otherwise goes through all that follows, and hue may double it.
    assert float((apart > 2).float().mean()) < 1e-3


def test_both_passes_of_a_chunked_training_see_the_same_images(store: ImageStore) -> None:
    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.seen = nn.Linear(3 * SIZE * SIZE, 4), []

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(images.detach().clone())
            return self.layer(images.flatten(1))

    body = Watch()
    network = Backbone(body, spec="w", input=ImageInput(SIZE), embedding_size=4)
    batch = changed(store)[3]
    passes = NetworkPass(network, CPU, chunk_size=4)
    passes.forward(batch.images, 7, 7, seed=0).sum().backward()
    passes.backward()
    assert len(body.seen) == 4
    for first, second in zip(body.seen[:2], body.seen[2:], strict=True):
        assert torch.equal(first, second)


FUNCTIONS = """
import torch
def noise(images, random):
    added = torch.tensor([[own.integers(-9, 9) for own in random]]).view(-1, 1, 1, 1)
    return (images.int() + added).clamp(0, 255).to(torch.uint8)
def floats(images, random):
    return images / 255
def nothing(images, random):
    pass
def bad(images, random):
    raise ValueError("in the user's code")
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_changes.py").write_text(FUNCTIONS)
    (tmp_path / "my_broken_changes.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    for name in ("my_changes", "my_broken_changes"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("functions")
def test_a_function_of_the_users_is_one_of_seed_step_and_place(store: ImageStore) -> None:
    config = AugmentConfig(functions=("python:my_changes:noise",))
    whole, plain = changed(store, config), changed(store, AugmentConfig(flip=0, shift=0))
    moved = (whole[3].images.int() - plain[3].images.int()).flatten(1).abs().amax(1)
    assert len(moved.unique()) > 2
    for parts in zip(
        whole, changed(store, config, process=(0, 2)), changed(store, config, process=(1, 2)), strict=True
    ):
        assert torch.equal(torch.cat([part.images for part in parts[1:]]), parts[0].images)
    twice = changed(store, AugmentConfig(functions=("python:my_changes:noise",) * 2))
    assert not torch.equal(twice[3].images, whole[3].images)


@pytest.mark.parametrize("setting", ["hue", "blur"])
def test_without_kornia_there_is_one_line_before_the_first_batch(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(InputError, match=f"augment.{setting} needs kornia"):
        module.ImageChanges(AugmentConfig.model_validate({setting: 0.1}), (0,), CPU)


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("floats", "returned torch.float32 [7, 3, 12, 12] on cpu; return images as they came: torch.uint8"),
        ("nothing", "returned NoneType; return images"),
        ("gone", "has no 'gone'"),
    ],
)
def test_a_function_that_is_none_is_told_in_one_line(store: ImageStore, function: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        changed(store, AugmentConfig(functions=(f"python:my_changes:{function}",)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("my_changes:bad", "raised ValueError: in the user's code"),
        ("my_broken_changes:f", "raised ZeroDivisionError"),
    ],
)
def test_an_error_in_a_function_has_the_users_traceback(
    store: ImageStore, function: str, message: str
) -> None:
    with pytest.raises(OwnCodeError, match=f"python:{function} {message}") as error:
        changed(store, AugmentConfig(functions=(f"python:{function}",)))
    assert f"{function.split(':')[0]}.py" in error.value.traceback
    assert "augmented_batches.py" not in error.value.traceback


def test_a_batch_without_places_is_whole() -> None:
    batch = ImageBatch(0, np.array([4, 6]), torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [])
    assert module.places_of(batch)[0].tolist() == [0, 1]
    assert module.places_of(replace(batch, places=np.array([1, 4])))[0].tolist() == [1, 4]


@pytest.mark.parametrize("documented", [module, drawn_changes, settings])
def test_examples_run(documented: object) -> None:
    assert doctest.testmod(documented).failed == 0  # pyright: ignore[reportArgumentType]

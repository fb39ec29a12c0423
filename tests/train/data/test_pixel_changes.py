"""Each change of pixels against Pillow, SciPy or a slow loop; and that none waits for a device or sees another image."""

from __future__ import annotations

import colorsys
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from torch._subclasses.fake_tensor import FakeTensorMode

from subspace.mining import InputError
from subspace.train.data import pixel_changes
from subspace.train.data.drawn_changes import gaussian_taps

HEIGHT, WIDTH = 26, 19
PHOTO = (
    np.random.default_rng(5).integers(0, 256, (6, 3, HEIGHT // 2, WIDTH // 2 + 1)).repeat(2, 2).repeat(2, 3)
)
IMAGES = torch.tensor(PHOTO[:, :, :HEIGHT, :WIDTH], dtype=torch.float32)
BOXES = torch.tensor(
    [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0.25, 0.5, 0.75], [0.11, 0.3, 0.6, 0.7], [0.9, 0, 0.1, 1], [0.2, 0.2, 0.3, 0.6]]
)  # fmt: skip
FACTORS = torch.tensor([0.0, 0.4, 0.75, 1.0, 1.3, 2.0])


def pillow(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.to(torch.uint8).permute(1, 2, 0).numpy())


def levels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def largest_difference(changed: torch.Tensor, wanted: list[Image.Image]) -> float:
    assert changed.shape == IMAGES.shape
    assert torch.equal(changed, changed.round().clamp(0, 255))
    return float((changed - torch.stack([levels(image) for image in wanted])).abs().max())


def test_crops_are_those_of_resize() -> None:
    """A slow loop; and Pillow, which rounds after each axis, apart from the ends: it does not look beyond the box."""
    wanted = []
    for image, (top, left, height, width) in zip(IMAGES, BOXES.tolist(), strict=True):
        corners = (left * WIDTH, top * HEIGHT, (left + width) * WIDTH, (top + height) * HEIGHT)
        wanted.append(bilinear(image.numpy(), corners))
    changed = pixel_changes.crop_and_resize(IMAGES, BOXES)
    assert float((changed - torch.tensor(np.stack(wanted))).abs().max()) <= 0.501
    assert torch.equal(changed[0], IMAGES[0])
    whole = pillow(IMAGES[1]).resize(
        (WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=(0, 0, WIDTH / 2, HEIGHT / 2)
    )
    inside = (levels(whole) - changed[1])[:, : HEIGHT - 2, : WIDTH - 2]
    assert float(inside.abs().max()) <= 1


def bilinear(image: np.ndarray, corners: tuple[float, float, float, float]) -> np.ndarray:
    left, top, right, bottom = corners
    out = np.zeros((3, HEIGHT, WIDTH), np.float32)
    for i in range(HEIGHT):
        for j in range(WIDTH):
            y = min(max(top + (i + 0.5) * (bottom - top) / HEIGHT - 0.5, 0), HEIGHT - 1)
            x = min(max(left + (j + 0.5) * (right - left) / WIDTH - 0.5, 0), WIDTH - 1)
            y0, x0 = min(int(y), HEIGHT - 2), min(int(x), WIDTH - 2)
            v, u = y - y0, x - x0
            upper = image[:, y0, x0] * (1 - u) + image[:, y0, x0 + 1] * u
            lower = image[:, y0 + 1, x0] * (1 - u) + image[:, y0 + 1, x0 + 1] * u
            out[:, i, j] = upper * (1 - v) + lower * v
    return out


@pytest.mark.parametrize(
    ("change", "enhance"),
    [
        (pixel_changes.brighten, ImageEnhance.Brightness),
        (pixel_changes.change_contrast, ImageEnhance.Contrast),
        (pixel_changes.saturate, ImageEnhance.Color),
    ],
)
def test_colours_are_pillows(change: object, enhance: type) -> None:
    """To one level: Pillow cuts off what is behind the point, here it is rounded."""
    wanted = [enhance(pillow(image)).enhance(float(f)) for image, f in zip(IMAGES, FACTORS, strict=True)]
    assert largest_difference(change(IMAGES, FACTORS), wanted) <= 1  # pyright: ignore[reportCallIssue]


def test_grey_is_pillows_to_the_bit() -> None:
    wanted = [pillow(image).convert("L").convert("RGB") for image in IMAGES]
    assert largest_difference(pixel_changes.grey(IMAGES), wanted) == 0


def test_hues_are_those_of_colorsys() -> None:
    turns = torch.tensor([0.0, 0.1, -0.1, 0.5, -0.5, 0.33])
    changed = pixel_changes.turn_hue(IMAGES, turns)
    for image, turn, found in zip(IMAGES / 255, turns.tolist(), changed, strict=True):
        for y, x in [(0, 0), (3, 7), (12, 2), (25, 18)]:
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, y, x].tolist())
            wanted = torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)) * 255
            assert float((found[:, y, x] - wanted).abs().max()) <= 0.502
    assert torch.equal(changed[0], IMAGES[0])


def test_blurs_are_scipys() -> None:
    """Up to three times the largest sigma; to a level, which is half for each axis."""
    sigmas = np.array([0.1, 0.5, 1, 1.5, 2, 2])
    changed = pixel_changes.blur(IMAGES, torch.from_numpy(gaussian_taps(sigmas, 2)))
    for image, sigma, found in zip(IMAGES.numpy(), sigmas, changed.numpy(), strict=True):
        for before, after in zip(image, found, strict=True):
            wanted = gaussian_filter(before.astype(float), sigma, mode="nearest", radius=6)
            assert np.abs(after - wanted).max() <= 1.02
    assert torch.equal(changed[0], IMAGES[0])  # a sigma of 0.1 has nothing beside its middle


def test_low_resolutions_are_pillows() -> None:
    """Averages over areas down, bilinear up; Pillow rounds the shrunk image and after each axis, we once an axis."""
    sides = torch.tensor([1.0, 0.75, 0.5, 0.3, 0.1, 0.01])
    wanted = []
    for image, side in zip(IMAGES, sides.tolist(), strict=True):
        shrunk = np.maximum(np.round(np.float32(side) * np.array([WIDTH, HEIGHT])), 1).astype(int)
        small = average(image.numpy(), *(int(n) for n in shrunk[::-1]))
        wanted.append(
            Image.fromarray(small.transpose(1, 2, 0)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        )
    changed = pixel_changes.low_resolution(IMAGES, sides)
    assert largest_difference(changed, wanted) <= 2
    assert torch.equal(changed[0], IMAGES[0])
    assert len(changed[5].flatten(1).unique(dim=1)[0]) == 1  # one pixel is left


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_a_large_black_or_white_image_stays_so_to_a_level(level: float) -> None:
    """Rounded weights may sum to more than 1, and 256 would be 0 as a byte."""
    sides = torch.tensor([1e-3, 0.3, 0.9])
    found = pixel_changes.low_resolution(torch.full((3, 3, 600, 444), level), sides)
    assert float((found - level).abs().max()) <= 1


def average(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over areas, in parts so small that each belongs to one."""
    fine = image.repeat(rows, 1).repeat(columns, 2)
    return np.round(fine.reshape(3, rows, HEIGHT, columns, WIDTH).mean(axis=(2, 4))).astype(np.uint8)


def test_erased_are_the_pixels_whose_centres_are_in_the_box() -> None:
    changed = pixel_changes.erase(IMAGES, BOXES)
    for image, (top, left, height, width), found in zip(IMAGES, BOXES.tolist(), changed, strict=True):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                inside = top <= (y + 0.5) / HEIGHT < top + height and left <= (x + 0.5) / WIDTH < left + width
                wanted = torch.full((3,), 128.0) if inside else image[:, y, x]
                assert torch.equal(found[:, y, x], wanted)


CHANGES = [
    (pixel_changes.crop_and_resize, BOXES),
    (pixel_changes.brighten, FACTORS),
    (pixel_changes.change_contrast, FACTORS),
    (pixel_changes.saturate, FACTORS),
    (pixel_changes.turn_hue, FACTORS / 5),
    (pixel_changes.blur, torch.from_numpy(gaussian_taps(np.linspace(0.1, 2, 6), 2))),
    (pixel_changes.low_resolution, torch.linspace(0.1, 1, 6)),
    (pixel_changes.erase, BOXES),
]
"""With numbers for six images."""
NAMES = [change.__name__ for change, _ in CHANGES]


@pytest.mark.parametrize(("change", "drawn"), CHANGES, ids=NAMES)
def test_nothing_waits_for_a_device(change: object, drawn: torch.Tensor) -> None:
    """Fake tensors have no values: asking one for its value, as waiting for a GPU would, raises."""
    with FakeTensorMode() as mode:
        images, numbers = mode.from_tensor(IMAGES), mode.from_tensor(drawn)
        assert change(images, numbers).shape == IMAGES.shape  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(("change", "drawn"), CHANGES, ids=NAMES)
def test_no_image_sees_another_nor_the_number_of_threads(change: object, drawn: torch.Tensor) -> None:
    big = IMAGES.repeat(8, 1, 1, 1).repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    many = drawn.repeat(8, *[1] * (drawn.ndim - 1))
    whole = change(big, many)  # pyright: ignore[reportCallIssue]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for piece in (slice(0, 1), slice(5, 10), slice(7, 48)):
                assert torch.equal(change(big[piece], many[piece]), whole[piece])  # pyright: ignore[reportCallIssue]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("name", "setting"), [("turn_hue", "hue"), ("blur", "blur")])
def test_a_missing_kornia_is_one_line(name: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(InputError, match=rf"^augment\.{setting} needs kornia.*\[augment\]") as error:
        getattr(pixel_changes, name)(IMAGES, torch.ones(6, 3))
    assert "\n" not in str(error.value)

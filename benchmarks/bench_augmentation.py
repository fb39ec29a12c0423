"""What changing an image at random costs: ours for a batch, beside Pillow image by image, as loader processes of others do it.

Microseconds of processor time for an image of 112 pixels, one thread; medians. Those that change a share of the images are
timed with a share of one.

    python benchmarks/bench_augmentation.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter

from subspace.train.augmented_batches import ImageChanges
from subspace.train.data.batches import ImageBatch
from subspace.train.data.settings import AugmentConfig

SIZE = 112
BOX = (10.3, 5.2, 100.1, 98.7)


def hue(image: Image.Image) -> Image.Image:
    """As torchvision turns it in a Pillow image."""
    h, s, v = image.convert("HSV").split()
    turned = Image.fromarray(np.asarray(h) + np.uint8(20))
    return Image.merge("HSV", (turned, s, v)).convert("RGB")


def low_resolution(image: Image.Image) -> Image.Image:
    """A shrunk copy by areas, enlarged."""
    return image.resize((SIZE // 2, SIZE // 2), Image.Resampling.BOX).resize(
        (SIZE, SIZE), Image.Resampling.BILINEAR
    )


def erase(image: Image.Image) -> Image.Image:
    """A grey rectangle."""
    image = image.copy()
    image.paste((128, 128, 128), (20, 20, 60, 50))
    return image


ALL_PILLOW: list[Callable[[Image.Image], Image.Image]] = [
    lambda image: image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=BOX),
    lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    lambda image: ImageEnhance.Color(image).enhance(1.2),
    hue,
    lambda image: image.convert("L").convert("RGB"),
    lambda image: image.filter(ImageFilter.GaussianBlur(1.2)),
    low_resolution,
    erase,
]
SETTINGS = [
    {"crop": (0.6, 1)}, {"brightness": 0.4}, {"contrast": 0.4}, {"saturation": 0.4}, {"hue": 0.1},
    {"grey": 1}, {"blur": 1}, {"low_resolution": 1}, {"erase": 1},
]  # fmt: skip
USUAL = {
    "crop": (0.6, 1), "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
    "grey": 0.1, "blur": 0.1, "low_resolution": 0.2, "erase": 0.25,
}  # fmt: skip


def microseconds(run: Callable[[], object], images: int, rounds: int) -> float:
    """Of processor time, an image."""
    run()
    took = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        took.append(time.process_time() - began)
    return statistics.median(took) / images * 1e6


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="What changing an image at random costs.")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = (
        np.random.default_rng(0)
        .integers(0, 256, (options.batch, 14, 14, 3), np.uint8)
        .repeat(8, 1)
        .repeat(8, 2)
    )
    photos = [Image.fromarray(image) for image in pixels]
    device = torch.device(options.device)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
    batch = ImageBatch(0, np.arange(len(images)), images, [])

    def ours(settings: dict[str, object]) -> float:
        change = ImageChanges(AugmentConfig.model_validate(settings), (0,), device)

        def run() -> None:
            change(batch)
            if device.type == "cuda":
                torch.cuda.synchronize()

        return microseconds(run, len(images), options.rounds)

    def pillow(changes: list[Callable[[Image.Image], Image.Image]]) -> float:
        def run() -> None:
            for photo in photos:
                changed = Image.fromarray(np.asarray(photo))  # decoders of loaders give arrays
                for change in changes:
                    changed = change(changed)
                np.asarray(changed)

        return microseconds(run, len(images), options.rounds)

    print(f"| change | ours, us an image ({options.device}) | Pillow, us an image |")
    print("|---|---|---|")
    nothing = pillow([])
    for settings, change in zip(SETTINGS, ALL_PILLOW, strict=True):
        print(
            f"| {next(iter(settings))} | {ours(settings):.0f} | {pillow([change]) - nothing:.0f} |",
            flush=True,
        )
    shares = [0.1, 0.1, 0.2, 0.25]
    print(f"| all but hue, at usual chances | {ours(USUAL):.0f} | "
          f"{pillow(ALL_PILLOW[:4]) - nothing + sum(share * (pillow([change]) - nothing) for share, change in zip(shares, ALL_PILLOW[5:], strict=True)):.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()

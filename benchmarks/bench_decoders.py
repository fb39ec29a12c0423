"""Processor time of decoding one JPEG, by each decoder, and how far their pixels are apart; one thread, medians.

python benchmarks/bench_decoders.py | tee /dev/stderr | python benchmarks/store_table.py loader decoders ...
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from subspace.train.data.image_input import ImageInput
from subspace.train.data.images import decode_pixels
from subspace.train.data.jpeg import jpeg_decoder

IMAGES, ROUNDS = 100, 9
SHAPES = ((112, 112), (160, 112), (250, 112), (640, 224))
"""Side of the image, and of what it becomes, in pixels."""


def pictures(side: int) -> list[bytes]:
    """JPEGs of quality 90 with smooth content, as photographs have it."""
    encoded = []
    for seed in range(IMAGES):
        few = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(few).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def as_most_programs(size: int) -> Callable[[bytes], np.ndarray]:
    """Pillow as ImageFolder calls it."""

    def decode(data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))

    return decode


def main() -> None:
    """Print the table."""
    print("| image | decoder | processor time, µs | times the fastest | largest difference to `pillow` |")
    print("|---|---|---|---|---|")
    for side, size in SHAPES:
        data, input = pictures(side), ImageInput(size)
        ways: dict[str, Callable[[bytes], np.ndarray]] = {
            "Pillow, as most programs call it": as_most_programs(size)
        }
        for name in ("pillow", "simplejpeg"):
            jpeg = jpeg_decoder(name)
            ways[f"`{name}`"] = partial(decode_pixels, input=input, jpeg=jpeg)
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, decode in ways.items():
                begun = time.thread_time()
                for each in data:
                    decode(each)
                spent[name].append((time.thread_time() - begun) / IMAGES * 1e6)
        median = {name: statistics.median(seconds) for name, seconds in spent.items()}
        for name, decode in ways.items():
            apart = max(np.abs(decode(each).astype(int) - ways["`pillow`"](each)).max() for each in data)
            times = median[name] / min(median.values())
            print(
                f"| {side} px to {size} | {name} | {median[name]:.0f} | {times:.2f} | {apart} |", flush=True
            )


if __name__ == "__main__":
    main()

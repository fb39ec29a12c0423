"""Colour JPEGs of 112 px, in a folder for each identity: `python jpegs.py FOLDER IDENTITIES IMAGES` draws some of them.

A script of its own, so that the processes which draw need not import torch.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from subspace.mining.machine import usable_cores

PIXELS = 112


def draw_all(folder: Path, identities: int, images: int) -> None:
    """Draw all of them, by a process on each core.

    Raises:
        RuntimeError: one of the processes failed.
    """
    cores = usable_cores()
    drawing = [
        subprocess.Popen([sys.executable, __file__, str(folder), str(identities), str(images), str(core), str(cores)])
        for core in range(cores)
    ]  # fmt: skip
    codes = [process.wait() for process in drawing]
    if any(codes):
        raise RuntimeError(f"the images of {folder} could not be drawn")


def draw(folder: Path, identities: range, images: int) -> None:
    """A pattern for each identity, moved and noisy in each image; about 5 kB each."""
    for identity in identities:
        random = np.random.default_rng(identity)
        colours = random.integers(0, 256, (7, 7, 3)).astype(np.uint8)
        pattern = Image.fromarray(colours).resize((PIXELS + 12, PIXELS + 12), Image.Resampling.BICUBIC)
        place = folder / f"id{identity:05d}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(images):
            left, top = (int(shift) for shift in random.integers(0, 12, 2))
            pixels = np.asarray(pattern.crop((left, top, left + PIXELS, top + PIXELS)), np.float32)
            pixels = (pixels + random.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
            (place / f"{number}.jpg").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    identities, images, core, cores = map(int, sys.argv[2:])
    draw(Path(sys.argv[1]), range(identities)[core::cores], images)

"""Processor time of reading an image that has the network's size already: raw (PPM), PNG and JPEG, medians in turns.

The images lie one behind another in a file, as in a tar, and are read in batches of 256 in random order; one thread.

python benchmarks/bench_raw_pixels.py | tee /dev/stderr | python benchmarks/store_table.py loader raw ...
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from subspace.mining.manifest import Manifest
from subspace.train.data.image_input import ImageInput
from subspace.train.data.images import ImageStore

IMAGES, BATCH, ROUNDS = 4_096, 256, 9
SIZES = ((24, 96), (112, 112))
"""Height and width in pixels."""
FORMATS = {"PPM, raw": ("PPM", {}), "PNG": ("PNG", {}), "JPEG": ("JPEG", {"quality": 90})}


def stored(folder: Path, size: tuple[int, int], name: str) -> ImageStore:
    """Smooth colour pictures, as photographs are, in one file."""
    height, width = size
    kind, options = FORMATS[name]
    pieces = []
    for seed in range(IMAGES):
        few = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
        image = Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)
        image.save(buffer := io.BytesIO(), kind, **options)
        pieces.append(buffer.getvalue())
    (folder / kind).write_bytes(b"".join(pieces))
    length = np.array([len(piece) for piece in pieces])
    columns = {"uri": [kind] * IMAGES, "offset": np.cumsum(length) - length, "length": length}
    return ImageStore(Manifest(folder / "manifest.parquet", pa.table(columns), fingerprint="0"))


def seconds(store: ImageStore, size: tuple[int, int], order: np.ndarray) -> float:
    """Of this thread, to read all images in an order."""
    pixels, begun = np.empty((BATCH, *size, 3), np.uint8), time.thread_time()
    for at in range(0, IMAGES, BATCH):
        assert not store.decode_into(pixels, order[at : at + BATCH], ImageInput(size))
    return time.thread_time() - begun


def main() -> None:
    """Print the table."""
    print("| image | format | processor time, µs | images/s of a core | times raw |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            stores = {name: stored(Path(folder), size, name) for name in FORMATS}
            spent: dict[str, list[float]] = {name: [] for name in FORMATS}
            for turn in range(ROUNDS):
                order = np.random.default_rng(turn).permutation(IMAGES)
                for name, store in stores.items():
                    spent[name].append(seconds(store, size, order) / IMAGES)
        median = {name: statistics.median(each) for name, each in spent.items()}
        for name, each in median.items():
            times = each / median["PPM, raw"]
            print(
                f"| {size[0]} × {size[1]} px | {name} | {each * 1e6:.0f} | {1 / each:,.0f} | {times:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Equal subspaces against plain k-means on real identities: every Han and Hangul character that typefaces draw.

    apt-get download fonts-hanazono fonts-cns11643-kai fonts-cns11643-sung fonts-babelstone-han fonts-wqy-zenhei fonts-nanum
    for deb in *.deb; do dpkg -x $deb fonts; done
    python benchmarks/balance_on_glyphs.py CHECKPOINT means.npz fonts/usr/share/fonts/truetype/*/*.tt[fc]

The means are made on first use, from one image of each character in each typeface, by any network of 32 px images.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import freetype
import numpy as np
import torch

from subspace.mining import cluster_identities
from subspace.mining.clustering.neighbors import sampled_neighbors
from subspace.train.checkpoint import load_network

SIDE, EM = 32, 27
SIZES, SEEDS, QUERIES = (500, 1000, 2000, 10_000), 3, 4000


def drawings(font: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Characters from U+3400 on, without private use, and their drawings in the middle of a square."""
    face = freetype.Face(str(font))
    face.set_pixel_sizes(EM, EM)
    for character, glyph in face.get_chars():
        if character < 0x3400 or 0xE000 <= character < 0xF900 or character >= 0xF0000:
            continue
        face.load_glyph(glyph, freetype.FT_LOAD_RENDER)
        bitmap = face.glyph.bitmap
        if bitmap.pixel_mode == 2 and 0 < bitmap.width <= SIDE and 0 < bitmap.rows <= SIDE:
            ink = np.array(bitmap.buffer, np.uint8).reshape(bitmap.rows, bitmap.pitch)[:, : bitmap.width]
            square = np.zeros((SIDE, SIDE), np.uint8)
            top, left = (SIDE - bitmap.rows) // 2, (SIDE - bitmap.width) // 2
            square[top : top + bitmap.rows, left : left + bitmap.width] = ink
            yield character, square


def make_means(checkpoint: str, fonts: list[Path]) -> np.ndarray:
    """The mean of every character over the typefaces, float32[N, D], unit length."""
    network = load_network(f"checkpoint:{checkpoint}").eval()
    sums: dict[int, np.ndarray] = {}
    for font in fonts:
        drawn = drawings(font)
        while batch := list(islice(drawn, 512)):
            pixels = torch.from_numpy(np.stack([square for _, square in batch]))
            with torch.inference_mode():
                embeddings = network(pixels[:, None].expand(-1, 3, -1, -1).contiguous()).float()
            for (character, _), row in zip(
                batch, torch.nn.functional.normalize(embeddings).numpy(), strict=True
            ):
                sums[character] = sums.get(character, 0) + row
        print(f"{font.name}: {len(sums):,} characters so far", file=sys.stderr)
    means = np.stack([sums[character] for character in sorted(sums)]).astype(np.float32)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def main(checkpoint: str, path: Path, fonts: list[Path]) -> None:
    """Print one row for each size and kind of subspaces, means over the seeds."""
    if not path.exists():
        np.savez(path, mean=make_means(checkpoint, fonts))
    means = np.load(path)["mean"]
    neighbors = sampled_neighbors(means, queries=QUERIES)
    print(f"{len(means):,} identities of {means.shape[1]} numbers, {SEEDS} seeds")
    print(
        "| identities a subspace | | r@10 | times as often as in a random batch | max / mean size | distortion | s |"
    )
    print(f"|{'---|' * 7}")
    for size in SIZES:
        for name, balance in (("plain k-means", "none"), ("equal", "prices")):
            rows = []
            for seed in range(SEEDS):
                started = time.perf_counter()
                found = cluster_identities(means, ids_per_subspace=size, balance=balance, seed=seed)
                seconds, sizes = time.perf_counter() - started, found.sizes
                distortion = 1 - float(found.similarity.mean())
                recall, gain = neighbors.recall(found.subspace_id), neighbors.gain(found.subspace_id)
                rows.append((recall, gain, sizes.max() / sizes.mean(), distortion, seconds))
            recall, gain, largest, distortion, seconds = np.mean(rows, axis=0)
            print(
                f"| {size:,} | {name} | {recall:.3f} | {gain:.1f} | {largest:.2f} | {distortion:.4f} | {seconds:.2f} |"
            )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [Path(font) for font in sys.argv[3:]])

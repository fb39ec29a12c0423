"""Suspected duplicates on the demo's glyphs: 200 training identities cut in two are to be found again.

python benchmarks/duplicates_on_demo.py CHECKPOINT ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from subspace.mining import suspected_duplicates
from subspace.mining.manifest import Manifest
from subspace.train.checkpoint import load_network
from subspace.train.data.batches import DecodedBatches, ImageChunks
from subspace.train.data.images import ImageStore

DEMO = Path(__file__).resolve().parent.parent / "data_manifests" / "demo.parquet"
CUT, LEAST_IMAGES = 200, 6


def embed(checkpoint: str, manifest: Manifest, image_id: np.ndarray) -> np.ndarray:
    """Unit embeddings of these images, float32[n, D]."""
    network = load_network(f"checkpoint:{checkpoint}").eval()
    chunks = ImageChunks(image_id, 512)
    batches = DecodedBatches(ImageStore(manifest), chunks, network.input)
    with torch.inference_mode():
        found = [
            torch.nn.functional.normalize(network(batches[i].images).float()) for i in range(len(chunks))
        ]
    return torch.cat(found).numpy()


def main(checkpoints: list[str]) -> None:
    """Print one row for each checkpoint and width of the rule."""
    manifest = Manifest.open(DEMO)
    images = manifest.identities_in(("train", "pretrain"))
    random = np.random.default_rng(0)
    cut = random.permutation(np.flatnonzero(images.count >= LEAST_IMAGES))[:CUT]
    groups, true = [], set()
    for identity in range(len(images)):
        rows = random.permutation(np.arange(images.offset[identity], images.offset[identity + 1]))
        if identity in cut:
            true.add((len(groups), len(groups) + 1))
            groups += [rows[::2], rows[1::2]]
        else:
            groups.append(rows)
    print(f"{len(groups):,} identities, {CUT} of them cut in two\n")
    print("| checkpoint | within | halves found | other pairs listed |\n|---|---|---|---|")
    for checkpoint in checkpoints:
        embeddings = embed(checkpoint, manifest, images.image_id)
        vectors = np.stack([embeddings[rows].mean(axis=0) for rows in groups])
        length = np.linalg.norm(vectors, axis=1)
        counts = np.array([len(rows) for rows in groups])
        for within in (1.0, 1.5, 2.0):
            found = suspected_duplicates(
                (vectors / length[:, None]).astype(np.float32),
                1 - length,
                counts,
                np.zeros(len(groups), np.int32),
                within=within,
            )
            pairs = set(zip(found.a.tolist(), found.b.tolist(), strict=True))
            name = "/".join(Path(checkpoint).resolve().parts[-3:-1])
            print(f"| {name} | {within} | {len(pairs & true) / CUT:.0%} | {len(pairs - true)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

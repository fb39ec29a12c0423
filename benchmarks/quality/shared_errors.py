"""How many errors the networks of several rows share: what no way of choosing batches has mended.

    python benchmarks/quality/shared_errors.py --data 100k --arm "random, batch OHNM" --arm "Partial FC CosFace, r=0.1" \\
        --seed 0 --seed 1

Needs the rows' runs in data/quality, where run_rows.py leaves them. A probe is an error of a row if another of the
10,000 test identities is nearer than its own. With --png, twenty are drawn where all take the same one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import typer
from arms import ARMS, LR
from examination import embedded, test_pairs
from glyph_sets import SEED, wide_manifest
from one_row import Row

from subspace.mining.manifest import Manifest
from subspace.mining.randomness import generator
from subspace.train.data.images import ImageStore

SHOWN, SIDE = (4, 5), 64
"""Rows and columns of the picture; pixels of an image."""


def main(
    arm: Annotated[list[str], typer.Option(help="one of arms.py; twice or more")],
    data: Annotated[str, typer.Option(help="20k or 100k; see glyph_sets.py")] = "100k",
    seed: Annotated[list[int] | None, typer.Option(help="default: 0")] = None,
    lr: Annotated[float, typer.Option(help="peak learning rate of the rows")] = LR,
    png: Annotated[Path | None, typer.Option(help="draw some where all took the same identity")] = None,
) -> None:
    """Print the errors of each row of equal steps, and how many all have in common."""
    unknown = [name for name in arm if name not in ARMS]
    if unknown:
        sys.exit(f"no such arm: {unknown[0]}; arms: {'; '.join(ARMS)}")
    rows = [Row(ARMS[name], data, number, "steps", lr=lr) for name in arm for number in seed or (0,)]
    wide = wide_manifest()
    gallery, probe = test_pairs(wide)
    taken = np.stack([_nearest(row, wide, gallery, probe) for row in rows])
    wrong = taken != np.arange(len(gallery))
    shared = wrong.all(axis=0)
    for row, errors in zip(rows, wrong, strict=True):
        print(
            f"{errors.sum():>6,} errors, {shared.sum() / errors.sum():.0%} shared by all: {row.arm.name}, seed {row.seed}"
        )
    alike = shared & (taken == taken[0]).all(axis=0)
    print(
        f"{shared.sum():>6,} of {len(probe):,} probes are errors of all, {alike.sum():,} of them the same error"
    )
    if png is not None:
        drawn = generator(SEED, "shared errors").permutation(np.flatnonzero(alike))[: np.prod(SHOWN)]
        _draw(wide, np.stack((probe, gallery, gallery[taken[0]]), axis=1)[np.sort(drawn)].tolist(), png)


def _nearest(row: Row, wide: Manifest, gallery: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Place of the gallery image that is nearest to each probe: int64[n]."""
    wanted = np.unique(np.concatenate((gallery, probe)))
    rounds = sorted(row.run.glob("round-*"))
    if not rounds:
        sys.exit(f"{row.run} is not there; first make the row")
    embeddings = embedded(rounds[-1] / "checkpoint", wide, wanted)
    similarity = embeddings[np.searchsorted(wanted, probe)] @ embeddings[np.searchsorted(wanted, gallery)].T
    return similarity.argmax(axis=1)


def _draw(wide: Manifest, errors: list[list[int]], png: Path) -> None:
    store = ImageStore(wide)
    figure, panels = plt.subplots(*SHOWN, figsize=(9, 3.4), layout="constrained")
    for panel, images in zip(panels.flat, errors, strict=False):
        pictures = [store.decode(image, SIDE).transpose(1, 2, 0) for image in images]
        panel.imshow(np.concatenate(pictures, axis=1))
    for panel in panels.flat:
        panel.axis("off")
    figure.savefig(png, dpi=110)


if __name__ == "__main__":
    typer.run(main)

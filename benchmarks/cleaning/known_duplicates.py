"""Noise that nobody injected: characters of the glyph set that are one picture in every face that has both.

python benchmarks/cleaning/known_duplicates.py CHECKPOINT data/glyphs/tiny [--identities 5000]

`duplicates.parquet` of the set lists them. Their images, and those of some other characters, are embedded and searched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from detection import embed

from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.suspects import find_suspects
from subspace.mining.manifest import Manifest


def main() -> None:
    """Print how many of the known pairs are listed, by reason, and how many other pairs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("set", type=Path)
    parser.add_argument("--identities", type=int, default=5000)
    given = parser.parse_args()
    manifest = Manifest.open(given.set / "manifest.parquet")
    known = pq.read_table(given.set / "duplicates.parquet")
    known = {
        tuple(sorted(pair.values())) for pair in known.select(["identity_id_a", "identity_id_b"]).to_pylist()
    }
    images = manifest.identities_in(("train", "pretrain"))
    known = {pair for pair in known if np.isin(pair, images.identity_id).all()}
    others = np.random.default_rng(0).permutation(images.identity_id)[: given.identities]
    images = images.where(np.isin(images.identity_id, [*{one for pair in known for one in pair}, *others]))
    blocks = IdentityBlocks(
        embed(given.checkpoint, manifest, images.image_id), np.repeat(images.identity_id, images.count)
    )
    found = find_suspects(blocks)
    print(f"{blocks.images:,} images of {len(images):,} identities, {len(known)} known pairs\n")
    print("| reason | suspects | known pairs found | other pairs |\n|---|---|---|---|")
    for reason, some in found.suspects.items():
        pairs = {
            tuple(sorted((int(blocks.identity_id[a]), int(blocks.identity_id[b]))))
            for a, b in zip(some.identity.tolist(), some.other_identity.tolist(), strict=True)
            if b >= 0
        }
        print(f"| {reason} | {len(some.score)} | {len(pairs & known)} | {len(pairs - known)} |")


if __name__ == "__main__":
    main()

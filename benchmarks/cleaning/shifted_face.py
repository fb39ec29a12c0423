"""Noise that nobody injected: a typeface that draws every Hangul syllable at the place of another one.

python benchmarks/cleaning/shifted_face.py CHECKPOINT SET [--face cwTeXHeiBold]

cwTeXHeiBold (fonts-cwtex-heib) draws them two places away from where they belong, so that all of its images have a wrong name, and
of a look-alike often. SET is a glyph set with that face, of the syllables of which all images are embedded and searched, as
`subspace clean` does it, and in the other ways of detection.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
from detection import WAYS, embed
from injected_noise import judge

from subspace.mining.manifest import Manifest

SYLLABLES = range(0xAC00, 0xD7A4)


def main() -> None:
    """Print precision and recall of each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("set", type=Path)
    parser.add_argument("--face", default="cwTeXHeiBold")
    parser.add_argument("--ways", nargs="*", default=["clean", "clean, overfit", "mean - 2 sd"])
    given = parser.parse_args()
    manifest = Manifest.open(given.set / "manifest.parquet")
    faces = csv.read_csv(given.set / "faces.csv").to_pylist()
    shifted = [face["face"] for face in faces if face["name"].startswith(given.face)]
    face = pq.read_table(given.set / "image_faces.parquet")["face"].to_numpy()
    names = manifest.table["identity"].cast("string").to_pylist()
    image_id = np.flatnonzero([int(name[2:], 16) in SYLLABLES for name in names])
    wrong, identity = np.isin(face[image_id], shifted), manifest.identity_id[image_id].astype(np.int64)
    embeddings = embed(given.checkpoint, manifest, image_id)
    print(
        f"{len(image_id):,} images of {len(np.unique(identity)):,} syllables, {wrong.sum():,} of {given.face}\n"
    )
    print("| way | suspects | precision | recall | F1 |\n|---|---|---|---|---|")
    for name in given.ways:
        suspected = WAYS[name](embeddings, identity)
        found = judge(suspected, wrong)
        cells = " | ".join(
            f"{value:.1%}" for value in (suspected.mean(), found.precision, found.recall, found.f1)
        )
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

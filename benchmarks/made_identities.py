"""Millions of made identities over the images of a word set: for time, memory and disk, not for what a network learns.

    make words SIZE=1m
    python benchmarks/made_identities.py data/words/1m/manifest.parquet 10000000 data/words/made-10m.parquet
    subspace ingest data/words/made-10m.parquet --check-repeats none --out runs/made-10m.manifest.parquet

An identity is two training images of the set, drawn by seed, whatever they show. Validation and test are the set's own.
What is written is a source for `subspace ingest`, a million rows in memory at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc  # pyright: ignore[reportMissingImports]
import pyarrow.parquet as pq

IMAGES = 2
"""Of an identity."""
PRETRAIN = 10_000
"""Identities, as in every word set."""
TOGETHER = 500_000
"""Identities in memory."""
COLUMNS = ("uri", "offset", "length", "group")


def write_source(manifest: Path, identities: int, out: Path, seed: int = 0) -> int:
    """Write the made identities and the held-out ones of the set; return the number of rows."""
    table = pq.read_table(manifest, columns=["identity", "split", *COLUMNS])
    split = table["split"].cast(pa.string())
    images = table.filter(pc.is_in(split, pa.array(["train", "pretrain"]))).select(COLUMNS).combine_chunks()
    held_out = table.filter(pc.is_in(split, pa.array(["val", "test"])))
    random, rows = np.random.default_rng(seed), 0
    root = manifest.resolve().parent
    with pq.ParquetWriter(out, _source(held_out, root).schema, compression="zstd") as writer:
        for first in range(0, identities, TOGETHER):
            ids = np.arange(first, min(first + TOGETHER, identities)).repeat(IMAGES)
            made = images.take(pa.array(random.integers(len(images), size=len(ids))))
            split = pa.array(np.where(ids < PRETRAIN, "pretrain", "train"))
            names = pa.array([f"made {number:08d}" for number in ids.tolist()])
            made = made.append_column("identity", names).append_column("split", split)
            writer.write_table(_source(made, root))
            rows += len(ids)
        writer.write_table(_source(held_out, root))
    return rows + len(held_out)


def _source(rows: pa.Table, root: Path) -> pa.Table:
    """The columns of a source, with paths that hold anywhere on this machine."""
    uri = rows["uri"].combine_chunks()
    uri = uri.dictionary.take(uri.indices) if isinstance(uri, pa.DictionaryArray) else uri
    return pa.table(
        {
            "identity": rows["identity"].cast(pa.string()),
            "path": pc.binary_join_element_wise(f"{root}/", uri.cast(pa.string()), ""),
            "offset": rows["offset"],
            "length": rows["length"],
            "split": rows["split"].cast(pa.string()),
            "group": rows["group"].cast(pa.string()),
        }
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, help="of a word set")
    parser.add_argument("identities", type=int, help="to train on")
    parser.add_argument("out", type=Path, help="the source to write, Parquet")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    count = write_source(given.manifest, given.identities, given.out, given.seed)
    print(f"{given.out}: {count:,} rows")

"""Shards by subspace, against slow loops."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from subspace.mining.manifest import IdentityImages, Manifest
from subspace.mining.planning.shards import shards_of


@pytest.mark.parametrize("encoded", [False, True])
def test_shards_of_every_subspace(encoded: bool) -> None:
    random = np.random.default_rng(0)
    count = random.integers(1, 5, 40)
    offset = np.concatenate(([0], np.cumsum(count)))
    uris = np.sort([f"shard-{number:02d}.tar" for number in random.integers(12, size=offset[-1])]).tolist()
    lengths = [None if uri == "shard-03.tar" and i % 2 else i + 1 for i, uri in enumerate(uris)]
    half = offset[-1] // 2
    parts = [pa.array(uris[:half]), pa.array(uris[half:])]  # chunks with dictionaries of their own
    uri = pa.chunked_array([part.dictionary_encode() for part in parts] if encoded else parts)
    manifest = Manifest(Path("m"), pa.table({"uri": uri, "length": pa.array(lengths, pa.int64())}), "f")
    kept = np.flatnonzero(random.random(40) < 0.7)
    images = IdentityImages(np.arange(40, dtype=np.int32), offset, np.arange(offset[-1])).where(
        np.isin(np.arange(40), kept)
    )
    subspace_id = random.integers(3, size=len(kept)).astype(np.int32)

    expected: dict[tuple[int, str], list[int | None]] = defaultdict(list)
    for subspace, identity in zip(subspace_id.tolist(), kept, strict=True):
        for image in range(offset[identity], offset[identity + 1]):
            expected[subspace, uris[image]].append(lengths[image])
    rows = [
        (*key, len(found), None if None in found else sum(filter(None, found)))
        for key, found in sorted(expected.items())
    ]
    table = shards_of(manifest, images, subspace_id)
    assert table.column_names == ["subspace_id", "uri", "images", "bytes"]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows

"""Shards by subspace, against slow loops."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from subspace.mining.manifest import IdentityImages, Manifest
from subspace.mining.planning.batch_plan import plan_batches
from subspace.mining.planning.settings import PlanConfig
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


def test_members_of_two_subspaces_are_in_the_shards_of_both() -> None:
    random = np.random.default_rng(1)
    count = random.integers(1, 4, 60)
    offset = np.concatenate(([0], np.cumsum(count)))
    images = IdentityImages(np.arange(60, dtype=np.int32), offset, np.arange(offset[-1]))
    uris = [f"{number}.png" for number in range(offset[-1])]
    columns = {"uri": pa.array(uris), "length": pa.array([1] * len(uris), pa.int64())}
    manifest = Manifest(Path("m"), pa.table(columns), "f")
    first, second = (random.integers(3, size=60).astype(np.int32) for _ in range(2))
    second[random.random(60) < 0.5] = -1  # some of the others are the first one once more
    table = shards_of(manifest, images, first, second)
    rows = [(row["subspace_id"], row["uri"], row["images"]) for row in table.to_pylist()]
    assert rows == [
        (subspace, uris[image], 1)
        for subspace in range(3)
        for identity in range(60)
        if subspace in (first[identity], second[identity])
        for image in range(offset[identity], offset[identity + 1])
    ]
    listed = {subspace: {uri for at, uri, _ in rows if at == subspace} for subspace in range(3)}
    config = PlanConfig(steps=60, P=6, K=2, strategy="subspace")
    for block in plan_batches(images, first, config, second_subspace=second):
        for subspace, image_id in zip(block.subspace_id.tolist(), block.image_id.tolist(), strict=True):
            assert {uris[image] for image in image_id} <= listed[subspace]
    alone = shards_of(manifest, images, first).to_pylist()
    assert shards_of(manifest, images, first, np.full(60, -1, np.int32)).to_pylist() == alone

"""The parts of an extraction: which there are, which are missing, how many images; asked without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from subspace.mining import InputError
from subspace.mining.manifest import IdentityImages, group_by_identity
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.randomness import generator
from subspace.mining.schemas import IDENTITIES, QUARANTINE, vector
from subspace.pipeline.configuration.config import ExtractConfig
from subspace.pipeline.stage_folder import StageFolder
from subspace.pipeline.stages.parts import SECONDS, ExtractParts, PartBatches, Shard

COUNTS = [3, 1, 7, 2, 2, 5, 4]


def identities() -> IdentityImages:
    owner = np.repeat(np.arange(len(COUNTS), dtype=np.int32) * 2, COUNTS)
    return group_by_identity(owner, np.ones(len(owner), bool))


def parts_in(folder: Path, fingerprint: str = "a", **settings: int | None) -> ExtractParts:
    config = ExtractConfig.model_validate({"identities_per_part": 3, **settings})
    return ExtractParts(StageFolder(folder, 0), identities(), config, fingerprint)


def finish(parts: ExtractParts, part: int, took: str | None = None) -> None:
    ids = parts[part].identity_id
    table = pa.table(
        {
            "identity_id": pa.array(ids, pa.int32()),
            "identity": pa.array([str(number) for number in ids]),
            "images": pa.array(np.ones(len(ids)), pa.int32()),
            "mean": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ones(len(ids)), pa.float32()), type=vector(1)
            ),
            "spread": pa.array(np.zeros(len(ids)), pa.float32()),
        }
    )
    metadata = {SECONDS: took} if took else {}
    write_parquet(parts.path(part), IDENTITIES, table, parts.fingerprint, metadata)


def test_every_identity_is_in_one_part_in_order(tmp_path: Path) -> None:
    parts = parts_in(tmp_path)
    assert len(parts) == 3
    assert [len(parts[part]) for part in range(3)] == [3, 3, 1]
    together = np.concatenate([parts[part].image_id for part in range(3)])
    np.testing.assert_array_equal(together, np.arange(sum(COUNTS)))
    with pytest.raises(IndexError):
        parts[3]


@pytest.mark.parametrize("limit", [None, 1, 2, 4])
def test_images_are_counted_as_they_are_embedded(tmp_path: Path, limit: int | None) -> None:
    parts = parts_in(tmp_path, max_images=limit)
    expected = [0, 0, 0]
    for identity, count in enumerate(COUNTS):
        expected[identity // 3] += min(count, limit or count)
    assert [parts.images([part]) for part in range(3)] == expected
    assert parts.images(range(3)) == sum(expected)
    assert parts.images([]) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_share_the_parts_out(tmp_path: Path, count: int) -> None:
    parts = parts_in(tmp_path)
    shared = [part for index in range(count) for part in parts.of(Shard(index, count))]
    assert sorted(shared) == [0, 1, 2]


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2)])
def test_a_shard_that_there_is_not(index: int, count: int) -> None:
    with pytest.raises(InputError, match=f"--shard {index} "):
        Shard(index, count)


def test_missing_are_those_that_are_not_there_or_of_other_settings(tmp_path: Path) -> None:
    parts = parts_in(tmp_path)
    assert parts.missing() == [0, 1, 2]
    finish(parts, 1)
    assert parts.missing() == [0, 2]
    assert parts.missing(Shard(1, 2)) == []
    finish(parts_in(tmp_path, fingerprint="b"), 2)
    assert parts.missing() == [0, 2]
    assert not parts.is_finished(2)
    parts.path(0).write_bytes(b"cut short")
    with pytest.raises(InputError, match=parts.path(0).name):
        parts.missing()


def test_merged_in_order(tmp_path: Path) -> None:
    parts = parts_in(tmp_path)
    for part in (2, 0, 1):
        finish(parts, part)
    assert parts.merge("means", IDENTITIES, tmp_path / "merged.parquet") == len(COUNTS)
    merged = pa.parquet.read_table(tmp_path / "merged.parquet")
    assert merged["identity_id"].to_pylist() == identities().identity_id.tolist()
    with pytest.raises(InputError, match="does not exist"):
        parts.merge("quarantine", QUARANTINE, tmp_path / "quarantine.parquet")


def test_parts_know_how_long_they_took_and_what_they_make_does_not(tmp_path: Path) -> None:
    parts = parts_in(tmp_path)
    for part, took in enumerate(("1.500", "0.250", None)):
        finish(parts, part, took)  # the last is of a version that did not note it
    assert parts.seconds([0, 1, 2]) == 1.75
    assert parts.seconds([]) == 0
    parts.merge("means", IDENTITIES, tmp_path / "merged.parquet")
    assert b"seconds" not in pa.parquet.read_metadata(tmp_path / "merged.parquet").metadata


@pytest.mark.parametrize("took", ["half a day", "nan", "inf", "-3", "1e999"])
def test_a_damaged_time_is_none(tmp_path: Path, took: str) -> None:
    parts = parts_in(tmp_path)
    for part, noted in enumerate(("1.500", took)):
        finish(parts, part, noted)
    assert parts.seconds([0, 1]) == 1.5


def test_parts_of_other_settings_and_other_sizes_are_dropped(tmp_path: Path) -> None:
    parts, others = parts_in(tmp_path), parts_in(tmp_path, identities_per_part=2)
    finish(parts, 0)
    for part in (1, 2):
        finish(parts_in(tmp_path, fingerprint="b"), part)
    finish(others, 3)
    assert parts.drop_others([0, 1]) == 2
    assert [parts.path(part).exists() for part in range(3)] == [
        True,
        False,
        True,
    ]  # the last is another shard's
    assert not others.path(3).exists()
    assert parts.drop_others([0, 1]) == 0


def test_asking_imports_no_torch() -> None:
    script = "import sys; import subspace.pipeline.stages.parts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("todo", [[0, 1, 2], [2, 0]])
def test_batches_of_all_parts_in_a_row_are_those_of_each_alone(
    tmp_path: Path, limit: int | None, todo: list[int]
) -> None:
    parts = parts_in(tmp_path, max_images=limit, batch_size=4)
    together = PartBatches(parts, todo, parts.config, seed=3)
    drawn = [
        parts[part] if limit is None else parts[part].at_most(limit, generator(3, "extract images", part))
        for part in todo
    ]
    expected = [
        images.image_id[start : start + 4].tolist()
        for images in drawn
        for start in range(0, len(images.image_id), 4)
    ]
    assert [together(number).tolist() for number in range(len(together))] == expected
    assert [together(number).tolist() for number in reversed(range(len(together)))] == expected[::-1]
    assert [together.of(part) for part in todo] == [-(-len(images.image_id) // 4) for images in drawn]


def test_no_parts_have_no_batches(tmp_path: Path) -> None:
    parts = parts_in(tmp_path)
    assert len(PartBatches(parts, [], parts.config, seed=0)) == 0


def test_a_number_of_shards_alone_is_refused() -> None:
    assert Shard.asked(None, 1) is None
    assert Shard.asked(1, 2) == Shard(1, 2)
    with pytest.raises(InputError, match="--num-shards 4: say which of them, --shard 0 to 3"):
        Shard.asked(None, 4)

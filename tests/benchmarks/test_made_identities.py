"""Made identities are a source that `subspace ingest` takes, and their images are those of the set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import subspace
from made_identities import write_source

COLUMNS = ["identity", "split", "uri", "offset", "length"]


def test_they_are_read_and_their_images_are_the_sets_own(small_source: Path, tmp_path: Path) -> None:
    of, bare, made = (tmp_path / name for name in ("set.parquet", "bare.parquet", "made.parquet"))
    assert subspace("ingest", small_source, "--out", of).returncode == 0
    table = pq.read_table(of, columns=["identity", "split", "group"])
    count = len(table)
    (tmp_path / "shard").write_bytes(bytes(count))
    for name, values in {"uri": ["shard"] * count, "offset": range(count), "length": [1] * count}.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, bare)
    splits = table["split"].to_pylist()
    held_out = sum(split in ("val", "test") for split in splits)
    assert write_source(bare, 30, made) == 60 + held_out
    done = subspace("ingest", made, "--check-repeats", "none", "--out", tmp_path / "manifest.parquet")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "manifest.parquet", columns=COLUMNS).to_pylist()
    drawn = [row for row in rows if row["identity"].startswith("made ")]
    assert len(drawn) == 60
    assert {row["split"] for row in drawn} == {"pretrain"}
    learned = {at for at, split in enumerate(splits) if split in ("train", "pretrain")}
    assert {row["offset"] for row in drawn} <= learned
    assert len({row["offset"] for row in drawn}) > 30

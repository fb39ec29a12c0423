"""`subspace inspect --sql` and `--images` as a user calls them, and options that mean nothing together."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import subspace


def test_sql_as_a_table_and_as_json(small_manifest: Path) -> None:
    query = (
        "select split, count(*) as images from manifest group by split order by images desc, split limit 2"
    )
    done = subspace("inspect", small_manifest, "--sql", query)
    assert done.stdout == "split     images\n----------------\ntrain        192\npretrain      96\n"
    done = subspace("inspect", small_manifest, "--sql", query, "--json")
    assert json.loads(done.stdout) == [{"split": "train", "images": 192}, {"split": "pretrain", "images": 96}]
    done = subspace("inspect", small_manifest, "--sql", "selec 1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'subspace: --sql: Parser Error: syntax error at or near "selec"\n'


def test_a_montage_is_written_once_and_over_itself(small_manifest: Path, tmp_path: Path) -> None:
    name = pq.read_table(small_manifest)["identity"][0].as_py()
    words = ["inspect", small_manifest, "--identity", name, "--images", "2", "--out", tmp_path / "x.png"]
    for _ in range(2):
        done = subspace(*words)
        assert done.stdout == f"{name}: the first 2 of 6 images; written to {tmp_path}/x.png\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--batch", "1"], "--batch says nothing without --images"),
        (["--images", "3"], "say where with --out FILE.png"),
        (["--out", "x.png"], "--out says nothing without --images or --check"),
        (["--sql", "select 1", "--check"], "--sql and --check each ask for something else"),
    ],
)
def test_options_that_need_each_other(small_manifest: Path, options: list[str], why: str) -> None:
    done = subspace("inspect", small_manifest, *options)
    assert done.returncode == 2
    assert why in done.stderr

"""Tables are summarised as SQL over the same files, or the test's own counts, say."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from subspace.mining import InputError
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline.inspection.tables import summarize_table


def test_a_manifest(small_manifest: Path) -> None:
    summary = summarize_table(small_manifest)
    assert summary.kind == "manifest"
    assert summary.facts["rows"] == 420
    assert summary.facts["identities"] == 70
    assert summary.facts["split test"] == "16 identities, 96 images"
    assert summary.histograms["images per identity"] == [("6", 70)]
    text = "\n".join(summary.lines())
    assert "images inside the file  yes" in text
    assert [line.split() for line in summary.lines() if line.split()[:1] == ["test"]] == [
        ["test", "16", "96"]
    ]


def test_identities(finished_run: Path) -> None:
    path = finished_run / "round-000" / "identities.parquet"
    summary = summarize_table(path)
    rows, images, median = duckdb.sql(
        f"select count(*), sum(images), median(spread) from '{path}'"
    ).fetchall()[0]
    assert summary.facts["rows"] == rows
    assert summary.facts["images"] == images
    assert summary.facts["spread (5 %, median, 95 %)"][1] == pytest.approx(median, abs=1e-4)
    assert any(f"{median:.3f} median; 90 % between" in line for line in summary.lines())


def test_subspaces_and_centroids_agree(finished_run: Path) -> None:
    members, centroids = (
        summarize_table(finished_run / "round-000" / f"{name}.parquet") for name in ("subspaces", "centroids")
    )
    title = "identities per subspace"
    assert members.histograms[title] == centroids.histograms[title]
    assert members.facts["subspaces"] == centroids.facts["rows"]


def test_unreadable_images_are_listed(tmp_path: Path) -> None:
    count = 12
    columns = {
        "image_id": range(count),
        "identity": ["ann"] * count,
        "uri": [None, *(f"{number}.png" for number in range(1, count))],
        "reason": ["cut short"] * count,
    }
    pq.write_table(pa.table(columns, schema=QUARANTINE.columns), tmp_path / "quarantine.parquet")
    summary = summarize_table(tmp_path / "quarantine.parquet")
    assert summary.facts["rows"] == count
    assert summary.facts["image 1"] == "(inline): cut short"
    shown = [" ".join(line.split()) for line in summary.lines()]
    assert "the first 10 of 12 images" in shown
    assert "9.png ann cut short" in shown
    assert "10.png ann cut short" not in shown


@pytest.mark.parametrize("name", ["identities", "quarantine", "subspaces", "centroids", "duplicates"])
def test_empty_tables_are_summarised(finished_run: Path, tmp_path: Path, name: str) -> None:
    table = pq.read_table(finished_run / "round-000" / f"{name}.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    summary = summarize_table(tmp_path / "empty.parquet")
    assert summary.facts["rows"] == 0
    assert summary.lines()


def test_foreign_and_damaged_tables_are_refused(tmp_path: Path, small_source: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(InputError, match="Parquet"):
        summarize_table(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="no table of a run; its columns: identity"):
        summarize_table(small_source)

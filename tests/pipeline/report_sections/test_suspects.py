"""Suspected duplicates, suspects of cleaning, and files that could not be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import DUPLICATES, QUARANTINE, SUSPECTS
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.suspects import DOUBTFUL, make_suspects

HOSTILE = "<b onmouseover=alert(1)>\x1b[2J"


def changed(finished_run: Path, tmp_path: Path) -> tuple[Path, pa.Table]:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    return run / "round-001", pq.read_table(run / "round-001" / "identities.parquet")


def duplicates(identities: pa.Table, pairs: list[tuple[int, int]]) -> pa.Table:
    names, ids = identities["identity"].to_pylist(), identities["identity_id"].to_pylist()
    count = len(pairs)
    return pa.table(
        {
            **{
                column: values
                for side, rows in zip("ab", zip(*pairs, strict=True), strict=True)
                for column, values in (
                    (f"identity_id_{side}", [ids[row] for row in rows]),
                    (f"identity_{side}", [names[row] for row in rows]),
                    (f"images_{side}", [3] * count),
                )
            },
            "similarity": [0.9 - 0.001 * place for place in range(count)],
            "expected": [0.95] * count,
        }
    ).cast(DUPLICATES.columns)


def test_few_duplicates_are_shown_and_many_are_not_yet_believed(finished_run: Path, tmp_path: Path) -> None:
    folder, identities = changed(finished_run, tmp_path)
    write_parquet(folder / "duplicates.parquet", DUPLICATES, duplicates(identities, [(0, 1)]), "0")
    html = str(make_suspects(RunReport.open(folder.parent)).html)
    assert "not yet reliable" not in html
    assert f"perhaps the same as {identities['identity'][1]}" in html
    many = [(2 * place, 2 * place + 1) for place in range(len(identities) // 2)]
    write_parquet(folder / "duplicates.parquet", DUPLICATES, duplicates(identities, many), "0")
    html = str(make_suspects(RunReport.open(folder.parent)).html)
    assert "not yet reliable" in html
    assert html.count("two halves of one would have 0.950") == DOUBTFUL


def test_suspects_and_unread_files_are_shown_and_never_obeyed(finished_run: Path, tmp_path: Path) -> None:
    folder, identities = changed(finished_run, tmp_path)
    ids = identities["identity_id"].to_pylist()
    rows = {
        "reason": ["wrong_name", "mixed"], "score": [0.9, 0.5], "identity_id": ids[:2], "identity": [HOSTILE, "bob"],
        "image_id": [0, None], "other_identity_id": [ids[1], None], "other_identity": ["bob", None],
        "other_image_id": [1, None],
    }  # fmt: skip
    table = pa.table(rows, schema=pa.schema([(field.name, pa.string() if field.name == "reason" else field.type) for field in SUSPECTS.columns]))  # fmt: skip
    write_parquet(folder / "suspects.parquet", SUSPECTS, table.cast(SUSPECTS.columns), "0")
    unread = pa.table(
        {
            "image_id": [2, 3],
            "identity": [HOSTILE, "cy"],
            "uri": [HOSTILE, None],
            "reason": ["cut short", HOSTILE],
        },
        schema=QUARANTINE.columns,
    )
    write_parquet(folder / "quarantine.parquet", QUARANTINE, unread, "0")
    html = str(make_suspects(RunReport.open(folder.parent)).html)
    assert "wrong_name: 1 suspect" in html
    assert "score 0.900, resembles bob" in html
    assert "2 images could not be read in round-001; these:" in html
    assert "<b onmouseover" not in html
    assert "\x1b" not in html


def test_what_the_last_network_cleaned_is_shown_though_no_round_began_there(
    finished_run: Path, tmp_path: Path
) -> None:
    folder, _ = changed(finished_run, tmp_path)
    run, nothing = folder.parent, SUSPECTS.columns.empty_table()
    for name, gone in (("round-002", ()), ("round-000", ("round-000", "round-001", "round-002"))):
        for old in gone:
            shutil.rmtree(run / old)
        (run / name / "cleaning").mkdir(parents=True)
        write_parquet(run / name / "suspects.parquet", SUSPECTS, nothing, "0")
        html = str(make_suspects(RunReport.open(run)).html)
        assert f"found nothing suspicious with the network before {name}." in html


def test_what_a_round_cleaned_that_is_left_over_is_not_shown(finished_run: Path, tmp_path: Path) -> None:
    folder, _ = changed(finished_run, tmp_path)
    (folder.parent / "round-000" / "done" / "train.json").unlink()
    write_parquet(folder / "suspects.parquet", SUSPECTS, SUSPECTS.columns.empty_table(), "0")
    assert "it has not run." in str(make_suspects(RunReport.open(folder.parent)).html)


def test_what_is_not_there_is_said(finished_run: Path) -> None:
    html = str(make_suspects(RunReport.open(finished_run)).html)
    assert "looks for wrong names and near repeats; it has not run." in html
    assert "Every image was read in round-001." in html

"""The exam without letters that no eye could tell apart: its rule, and that rows of before it are still printed.

Covers benchmarks/quality/lookalikes.py, every_table.py, facenet_tables.py, too.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import every_table
import facenet_tables
import numpy as np
import pytest
import store_table
from ablations import ABLATIONS
from examination import TOLD_APART
from lookalikes import alike, confusable, drawn_alike, told_apart
from make_pages import _notes
from one_row import RESULTS, Row
from PIL import Image
from run_rows import examine_again, stored_row
from table import table

ROW = {
    "rank1_10k": 0.5, "rank1_100k": 0.4, "tar_1e-4": 0.5, "tar_1e-5": 0.5, "tar_1e-6": 0.5, "coverage_p95": 0.5,
    "coverage_p99": 0.5, "active_fraction": None, "steps": 10, "images_per_second": 100.0, "seconds": 10.0,
    "mining_seconds": 1.0, "peak_rss_bytes": 2**30, "hardware": "one",
}  # fmt: skip
BOTH = ROW | {
    f"{TOLD_APART}{key}": 0.75 for key in ("rank1_10k", "rank1_100k", "tar_1e-4", "tar_1e-5", "tar_1e-6")
}


def test_pairs_drawn_alike_are_those_of_a_loop_over_all() -> None:
    random = np.random.default_rng(0)
    shapes = random.integers(0, 16, (6, 16), np.uint8)
    levels = np.clip(shapes[random.integers(0, 6, 60)] + random.integers(0, 3, (60, 16)), 0, 15).astype(
        np.uint8
    )
    face, identity_id = random.integers(0, 4, 60), random.integers(0, 20, 60)
    sought = identity_id < 8
    expected = set()
    for one in range(60):
        for other in range(60):
            a, b = levels[one].astype(float), levels[other].astype(float)
            near = a @ b / np.sqrt((a @ a) * (b @ b)) >= 0.98
            if near and sought[one] and face[one] == face[other] and identity_id[one] != identity_id[other]:
                expected.add((identity_id[one], identity_id[other]))
    found = drawn_alike(levels, face, identity_id, sought)
    assert expected
    assert set(map(tuple, found.tolist())) == expected


def test_whole_numbers_decide_at_the_threshold() -> None:
    """A cosine of exactly 0.6 is near at 60 percent, whatever float32 makes of it."""
    levels = np.array([[3, 4, 0], [5, 0, 0]], np.uint8)
    face, identity_id, sought = np.zeros(2, int), np.arange(2), np.array([True, False])
    assert drawn_alike(levels, face, identity_id, sought, near=60).tolist() == [[0, 1]]
    assert not len(drawn_alike(levels, face, identity_id, sought, near=61))


def test_no_two_that_are_left_look_alike_and_no_more_go_than_need_to() -> None:
    random = np.random.default_rng(1)
    identity_id = np.sort(random.permutation(200)[:100])
    pairs = random.integers(0, 200, (60, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    left = told_apart(identity_id, pairs)
    stay = set(identity_id[left].tolist())
    assert not [pair for pair in pairs.tolist() if set(pair) <= stay]
    for gone in identity_id[~left].tolist():
        looks_like = {a if b == gone else b for a, b in pairs.tolist() if gone in (a, b)}
        assert any(other in stay and other < gone for other in looks_like)
    assert set(alike(identity_id[left], pairs).tolist()) & stay == set()


def test_unicode_says_which_letters_are_confusable() -> None:
    pytest.importorskip("confusable_homoglyphs")
    found = confusable(list("AБΑАא"))
    assert set(found) == {(0, 2), (2, 0), (0, 3), (3, 0), (2, 3), (3, 2)}


def test_a_row_of_before_the_second_exam_has_dashes() -> None:
    lines = table({"old": [ROW], "new": [BOTH], "half": [BOTH, ROW]})
    assert lines[2].count("–") == lines[4].count("–") == 5
    assert "**75.0**" in lines[3]
    assert "–" not in lines[3]
    assert "told apart" in "".join(_notes(lines))
    assert not _notes(table({"old": [ROW]}))
    assert not _notes(table({"new": [BOTH]}))


def test_any_stored_row_can_be_made_again() -> None:
    others = [path for path in sorted(RESULTS.rglob("*.json")) if stored_row(path).result != path]
    assert not others


def test_a_row_that_no_arm_makes_any_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "20k" / "gone-0-steps.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"arm": "gone"}))
    with pytest.raises(SystemExit, match="no arm 'gone'"):
        stored_row(path)


def test_a_row_without_its_run_stays_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(iter(sorted((RESULTS / "20k").glob("random-circle-*"))))
    row = stored_row(path)
    kept = Row(row.arm, row.data, row.seed, row.budget, network="no such network", out=tmp_path)
    kept.write(row.read())
    examine_again([kept])
    assert "so it is as it was" in capsys.readouterr().out
    assert kept.read() == row.read()


def test_every_stored_row_and_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    every_table.main()
    printed = capsys.readouterr().out
    titles = re.findall(r"^\*\*(.+)\*\*$", printed, re.MULTILINE)
    for path in store_table.RESULTS.glob("*.json"):
        for name in json.loads(path.read_text())["tables"]:
            assert f"{path.stem}, {name}" in titles
    of_rows = [
        part
        for part in re.split(r"\n(?=\*\*)", printed)
        if part.lstrip().startswith(("**glyph-", "**words-"))
    ]
    seeds = [int(line.split("|")[2]) for part in of_rows for line in part.splitlines()[4:] if line]
    assert sum(seeds) == len(list(RESULTS.rglob("*.json")))


def test_a_change_makes_a_picture_worse_and_leaves_its_meaning() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8))

    def error(data: bytes) -> float:
        seen = Image.open(io.BytesIO(data)).resize((32, 32), Image.Resampling.BILINEAR)
        return float(np.abs(np.asarray(seen, float) - np.asarray(picture, float)).mean())

    errors = [
        error(facenet_tables.jpeg(quality)(picture)) for quality in (10, 50, 90, facenet_tables.AS_IT_IS)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0
    sizes = [Image.open(io.BytesIO(facenet_tables.smaller(side)(picture))).size for side in (6, 32)]
    assert sizes == [(6, 6), (32, 32)]


def test_a_table_of_facenet_has_its_own_figures_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_table, "RESULTS", tmp_path)
    monkeypatch.setattr(facenet_tables, "OUT", tmp_path)
    measured = [("the default plan", side**2, ROW) for side in (6, 32)]
    facenet_tables._keep("pixels", measured)
    facenet_tables.main(["pixels"], draw=True)
    table = json.loads((tmp_path / "facenet.json").read_text())["tables"]["pixels"]
    assert table["rows"][1] == ["the default plan", "1,024", "50.0", "50.0", "50.0", "–"]
    assert table["rows"][2] == [facenet_tables.FACENET, "1,600", "–", "–", "–", "37.8"]
    assert (tmp_path / "facenet-pixels.png").stat().st_size > 1000


def test_the_points_of_facenets_tables_are_ablations() -> None:
    for name, lines in (
        ("embedding-size", ("the default plan, lr=0.016",)),
        ("identities", ("the default plan, lr=0.016", "its loss, random batches, lr=0.016")),
    ):
        assert set(lines) <= {point.line for point in ABLATIONS[name].points}

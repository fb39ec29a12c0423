"""Word sets as data of the comparison: their names, what they are begun on, and who is in their exam.

Covers benchmarks/quality/data_sets.py, too.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import word_sets
from arms import ARMS
from data_sets import set_named, title_of
from examination import Exam
from glyph_sets import GlyphSet
from one_row import Row, _means, _start
from word_sets import WordSet

from subspace.mining.manifest import Manifest


def test_a_set_is_its_name() -> None:
    found = set_named("words-1m")
    assert isinstance(found, WordSet)
    assert found.manifest.parts[-4:] == ("data", "words", "1m", "manifest.parquet")
    assert found.begun_on == set_named("words-100k")
    assert isinstance(set_named("20k-noise20"), GlyphSet)
    assert set_named("20k").begun_on == set_named("100k")
    with pytest.raises(SystemExit, match="'words-2m' names no set"):
        set_named("words-2m")
    assert (title_of("words-1m-lr-0.002"), title_of("100k-clean")) == (
        "words-1m-lr-0.002",
        "glyph-100k-clean",
    )


def test_a_set_that_is_not_built_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_sets, "REPOSITORY", tmp_path)
    with pytest.raises(
        SystemExit, match=r"10m/manifest.parquet is not there; run `make words SIZE=10m` first"
    ):
        set_named("words-10m").write()


def test_word_rows_share_a_start_and_no_folder_with_glyphs() -> None:
    arm = ARMS["random, batch OHNM"]
    rows = [Row(arm, data, 0, "steps") for data in ("100k", "20k", "words-100k", "words-1m")]
    assert [_start(row).parent.parent.name for row in rows] == ["start-0"] * 2 + ["start-words-0"] * 2
    assert len({_means(row) for row in rows}) == len({row.run for row in rows}) == 4


def test_the_exam_is_of_test_words_in_two_families_among_distractors() -> None:
    rows = [
        *(("cat", "test", family) for family in ("Times", "Courier", "Times")),
        *(("cot", "test", family) for family in ("Times", "Courier")),
        ("dog", "distractor", "Times"),
        ("ewe", "train", "Times"),
        ("fox", "distractor", "Courier"),
    ]
    names = sorted({row[0] for row in rows})
    columns = {
        "identity": [row[0] for row in rows],
        "identity_id": pa.array([names.index(row[0]) for row in rows], pa.int32()),
        "split": [row[1] for row in rows],
        "group": [row[2] for row in rows],
        "keep": [True] * len(rows),
    }
    exam = Exam.of_words(Manifest(Path("words.parquet"), pa.table(columns), fingerprint="0"))
    for gallery, probe in zip(exam.gallery.tolist(), exam.probe.tolist(), strict=True):
        assert rows[gallery][:2] == rows[probe][:2]
        assert rows[gallery][2] != rows[probe][2]
    assert [rows[image][0] for image in exam.gallery] == ["cat", "cot"]
    assert [rows[image][0] for image in exam.distractors] == ["dog", "fox"]
    assert exam.prefix == ""

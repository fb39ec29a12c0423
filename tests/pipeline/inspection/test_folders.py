"""What lies in a folder: names, words, rows, sizes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from subspace.mining import InputError
from subspace.pipeline.inspection.folders import summarize_folder


def test_a_round(finished_run: Path) -> None:
    folder = finished_run / "round-000"
    summary = summarize_folder(folder)
    entries = {entry["name"]: entry for entry in summary.facts["entries"]}
    assert {name.rstrip("/") for name in entries} == {path.name for path in folder.iterdir()}
    assert not [entry for entry in entries.values() if entry["what"] == "not of a run"]
    assert entries["identities.parquet"]["rows"] == 48
    assert entries["identities.parquet"]["bytes"] == (folder / "identities.parquet").stat().st_size
    (line,) = (line for line in summary.lines() if line.startswith("  identities.parquet"))
    assert line.split()[1:5] == ["identity", "means", "48", "identities"]


def test_folders_of_digits_are_submissions_where_jobs_lie_alone(tmp_path: Path) -> None:
    """The rows of an index and TensorBoard's folders were called submissions, too."""
    names = ["jobs/001/a.log", "rounds/tensorboard/00000/sprite.png", "other/7/a.log"]
    index = [f"index/{name}" for name in ("index.json", "000001/images.npy", "000001/offset.npy")]
    for name in (*names, *index):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "other" / "logs").mkdir()

    def what(folder: str) -> dict[str, str]:
        entries = summarize_folder(tmp_path / folder).facts["entries"]
        return {entry["name"]: entry["what"] for entry in entries}

    assert what("jobs") == {"001/": "a submission"}
    assert what("rounds/tensorboard") == {"00000/": "means of identities for TensorBoard"}
    assert what("other") == {"7/": "not of a run", "logs/": "what jobs said"}
    assert what("index") == {"000001/": "rows of an index", "index.json": "what an index is"}
    assert "not of a run" not in what("index/000001").values()
    assert summarize_folder(tmp_path / "index").title == "index of `subspace index`"
    assert summarize_folder(tmp_path / "index" / "000001").title == "rows of an index"


def test_the_folder_that_one_is_in_has_its_name(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_run / "round-000")
    assert summarize_folder(Path()).title == "round"


def test_damaged_and_foreign_files_are_marked(finished_run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished_run / "round-000", tmp_path / "round-000")
    (copy / "subspaces.parquet").write_bytes(b"no")
    (copy / "notes.txt").write_text("mine")
    (copy / ".centroids.parquet.7.tmp").write_text("half")
    (copy / "link").symlink_to("nowhere")
    what = {entry["name"]: entry["what"] for entry in summarize_folder(copy).facts["entries"]}
    assert what["subspaces.parquet"] == "damaged"
    assert what["notes.txt"] == "not of a run"
    assert what["link"] == "link to nothing"
    assert ".centroids.parquet.7.tmp" not in what


def test_folders_without_anything_of_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        summarize_folder(tmp_path)
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(InputError, match="holds nothing of a run"):
        summarize_folder(tmp_path)

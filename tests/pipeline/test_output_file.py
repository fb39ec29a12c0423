"""No command's --out takes the place of its input, or of a file of another kind."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from PIL import Image

from subspace.mining.errors import InputError
from subspace.pipeline.manifests.image_check import check_images
from subspace.pipeline.manifests.merge import merge_manifests
from subspace.pipeline.manifests.overlap import find_overlap
from subspace.pipeline.output_file import MADE_BY, PICTURE, PLOT, check_output
from subspace.pipeline.report.page import REPORT_PAGE, render_page
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.searching.answers import Answer, Match
from subspace.pipeline.searching.answers_page import ANSWERS_PAGE, write_page
from subspace.pipeline.searching.write_answers import KINDS, check_out, write_rows
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions

NO_TEST = IngestOptions(test_fraction=0)


def manifest(folder: Path, name: str) -> Path:
    """A manifest of two bytes that are no images."""
    source = folder / f"{name}.list.parquet"
    pq.write_table(pa.table({"label": ["a", "b"], "image": [b"x", name.encode()]}), source)
    return ingest_images(source, folder / f"{name}.parquet", NO_TEST).out


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two manifests, a table of somebody else's and a CSV, each of which is precious."""
    csv = tmp_path / "plain.csv"
    csv.write_text("path,label\n")
    link = tmp_path / "link.parquet"
    made = {name: manifest(tmp_path, name) for name in ("one", "two")}
    os.symlink(made["one"], link)
    return {**made, "list": tmp_path / "one.list.parquet", "csv": csv, "link": link}


@pytest.mark.parametrize("name", ["one", "two", "list", "csv", "link"])
def test_an_input_and_files_of_other_kinds_stay(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = files[name]
    with pytest.raises(InputError, match=r"cannot write|would be overwritten|name a file"):
        check_images(files["one"], out=out)
    with pytest.raises(InputError, match=r"cannot write|would be overwritten|name a file"):
        find_overlap(files["one"], files["two"], images=False, out=out)
    with pytest.raises(InputError, match=r"cannot write|would be overwritten|name a file"):
        merge_manifests([files["one"], files["two"]], out, NO_TEST)
    if name in ("list", "csv"):  # a manifest may be made anew
        with pytest.raises(InputError, match=r"cannot write|would be overwritten|name a file"):
            ingest_images(files["list"], out, NO_TEST)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_quarantine_of_somebody_else_is_not_removed(files: dict[str, Path], tmp_path: Path) -> None:
    other = quarantine_path(tmp_path / "new.parquet")
    other.write_bytes(files["list"].read_bytes())
    with pytest.raises(InputError, match="is no quarantine table"):
        ingest_images(files["list"], tmp_path / "new.parquet", NO_TEST)
    with pytest.raises(InputError, match="would be overwritten"):
        ingest_images(other, tmp_path / "new.parquet", NO_TEST)
    assert other.exists()


def test_earlier_tables_of_the_kind_and_empty_files_are_replaced(
    files: dict[str, Path], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.parquet"
    pairs.touch()
    for _ in range(2):
        find_overlap(files["one"], files["two"], out=pairs)
    assert pq.read_table(pairs).num_rows == 3  # a, b and the image x
    before = files["one"].read_bytes()
    ingest_images(files["list"], files["one"], NO_TEST)
    assert files["one"].read_bytes() == before


@pytest.mark.parametrize("command", [
    ("ingest", "one.list.parquet"), ("overlap", "one.parquet", "two.parquet"), ("inspect", "one.parquet", "--check"),
])  # fmt: skip
def test_a_folder_is_refused_in_one_line(
    files: dict[str, Path], tmp_path: Path, command: tuple[str, ...]
) -> None:
    words = [tmp_path / word if word.endswith(".parquet") else word for word in command]
    for out in (".", tmp_path):
        done = subspace(*words, "--out", out)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"cannot write {out}: it is a folder" in done.stderr


def test_only_pictures_that_were_drawn_here_are_written_over(tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    check_output(out, PICTURE)
    Image.new("RGB", (2, 2)).save(out)  # such as one of the user's images
    with pytest.raises(InputError, match="no picture that was drawn here"):
        check_output(out, PICTURE)
    (tmp_path / "y.svg").write_text(f"<svg><!-- {MADE_BY} --></svg>")
    check_output(tmp_path / "y.svg", PLOT)
    (tmp_path / "empty.png").touch()
    check_output(tmp_path / "empty.png", PICTURE)


@pytest.mark.parametrize(
    ("out", "why"), [("a.jpg", "ends in .png"), ("s3:/b/a.png", "is a URL"), ("f.png", "is a folder")]
)
def test_other_places_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.png").mkdir()
    with pytest.raises(InputError, match=why):
        check_output(Path(out), PICTURE)


PRECIOUS = {
    "notes.html": b"<!doctype html>\n<title>my notes</title>",
    "list.csv": b"path,label\n",
    "subspace.yaml": b"rounds: 3\n",
    "w.npy": b"\x93NUMPY",
    "other.quarantine.parquet": b"PAR1",
    "other.npy.quarantine.parquet": b"PAR1",
    "more.rows.parquet": b"PAR1",
}
"""Files of others."""


@pytest.fixture
def precious(tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of others' files, with `files` among them, a folder of parts that is none, and a way to a device."""
    for name, content in PRECIOUS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "new.parquet.parts").mkdir()
    (tmp_path / "new.parquet.parts" / "notes.txt").write_text("mine")
    os.symlink(os.devnull, tmp_path / "null.html")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [
    ("report", "run", "--out", "notes.html"), ("report", "run", "--out", "subspace.yaml"),
    ("report", "run", "--out", "null.html"), ("report", "run", "--out", "notes.md"),
    ("search", "i.index", "q.jpg", "--out", "notes.html"), ("search", "i.index", "q.jpg", "--out", "list.csv"),
    ("search", "i.index", "one.parquet", "--out", "one.parquet"), ("search", "i.index", "q.jpg", "--out", "link.parquet"),
    ("search", "i.index", "q.jpg", "--out", "null.html"), ("embed", "run", "q.jpg", "--out", "w.npy"),
    ("embed", "run", "q.jpg", "--out", "more.npy"), ("embed", "run", "q.jpg", "--out", "other.parquet"),
    ("embed", "run", "q.jpg", "--out", "other.npy"), ("embed", "run", "q.jpg", "--out", "new.parquet", "--force"),
    ("ingest", "list.csv", "--out", "new.csv"), ("overlap", "one.parquet", "two.parquet", "--out", "pairs.csv"),
])  # fmt: skip
def test_no_command_writes_over_files_of_others(precious: Path, command: tuple[str, ...]) -> None:
    def everything() -> dict[Path, bytes | None]:
        paths = [path for path in precious.rglob("*") if not path.is_dir() and path.name != "null.html"]
        return {path: path.read_bytes() for path in paths}

    before = everything()
    done = subspace(*command)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "--out" in done.stderr or "would be overwritten" in done.stderr
    assert everything() == before
    assert (precious / "null.html").is_symlink()


def test_answers_and_pages_of_before_are_written_over(tmp_path: Path) -> None:
    answers = [Answer("a.jpg", True, [Match("ann", 0.9, "ann/1.jpg")])]
    for suffix in KINDS:
        out = tmp_path / f"answers{suffix}"
        if suffix in ANSWERS_PAGE.suffixes:
            write_page(answers, out, title="t", notes=[])
        else:
            write_rows(answers, out)
        check_out(out)
    report = tmp_path / "report.html"
    report.write_text(render_page("run", [], []))
    check_output(report, REPORT_PAGE)
    with pytest.raises(InputError, match="no page that is marked as of `subspace search`"):
        check_out(report)


@pytest.mark.parametrize(
    "name", [".images.parquet.1.tmp", "images.parquet", "embeddings-00000-of-00002.parquet"]
)
def test_what_a_killed_embedding_left_is_no_file_of_others(precious: Path, name: str) -> None:
    """A shard that lists its images has only a file with a dot, and the next one said to remove the folder."""
    (precious / "more.parquet.parts").mkdir()
    (precious / "more.parquet.parts" / name).touch()
    done = subspace("embed", "no-such-run", "one.parquet", "--out", "more.parquet")
    assert "no-such-run" in done.stderr
    assert "holds other files" not in done.stderr

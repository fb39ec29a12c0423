"""An index made, changed, killed and damaged.

Covers pipeline/searching/write_index.py, pipeline/searching/row_sources.py,
pipeline/searching/index_folder.py, pipeline/searching/index_record.py, pipeline/searching/index_request.py,
too.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining import InputError, StaleArtifactError
from subspace.mining.embedding_files import embedding_writer
from subspace.mining.embedding_table import EmbeddingTable
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.searching import index_request, write_index
from subspace.pipeline.searching.build_index import change_index, make_index
from subspace.pipeline.searching.index_folder import open_folder
from subspace.pipeline.searching.index_request import IndexRequest, index_rows
from subspace.pipeline.searching.write_index import IndexSettings

D = 6
QUIET = Console(quiet=True)
Rows = list[tuple[str, int]]
"""Identity and number of each image; its vector is drawn by that number."""


def vector(number: int) -> np.ndarray:
    drawn = np.random.default_rng(number).standard_normal(D)
    return drawn / np.linalg.norm(drawn)


def table(path: Path, rows: Rows, network: str | None = "net") -> EmbeddingTable:
    with embedding_writer(path, D, columns=["identity"], network=network, normalized=True) as writer:
        names = {"image": [f"{number}.jpg" for _, number in rows], "identity": [name for name, _ in rows]}
        writer.write(np.stack([vector(number) for _, number in rows]), names)
    return EmbeddingTable.open(path)


def contents(index: Path) -> dict[str, object]:
    """All that an index holds, but for the number of its folder."""
    folder = index / json.loads((index / "index.json").read_text())["rows"]
    arrays = {path.name: np.load(path).tolist() for path in folder.glob("*.npy")}
    return arrays | {path.name: pq.read_table(path).to_pydict() for path in folder.glob("*.parquet")}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    rows = [(name, number) for number, name in enumerate("banana")]
    make_index([table(tmp_path / "rows.parquet", rows)], tmp_path / "index", IndexSettings(D), QUIET)
    return tmp_path / "index"


def test_an_index_holds_the_rows_by_identity(index: Path) -> None:
    held = contents(index)
    assert held["identities.parquet"] == {
        "identity_id": [0, 1, 2],
        "identity": ["a", "b", "n"],
        "images": [3, 1, 2],
    }
    assert held["images.parquet"]["image"] == ["1.jpg", "3.jpg", "5.jpg", "0.jpg", "2.jpg", "4.jpg"]
    np.testing.assert_allclose(held["images.npy"][0], vector(1), atol=1e-6)
    mean = vector(2) + vector(4)
    np.testing.assert_allclose(held["means.npy"][2], mean / np.linalg.norm(mean), atol=1e-6)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)),
        st.tuples(st.just("delete"), st.lists(st.sampled_from("abcd"), min_size=1, max_size=2)),
    ),
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(first=st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), changes=CHANGES)
def test_changes_come_to_what_an_index_made_anew_holds(
    first: list[str], changes: list[tuple[str, list[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, number = Path(folder), 0
        rows: Rows = [(name, (number := number + 1)) for name in first]
        make_index([table(path / "0.parquet", rows)], path / "index", IndexSettings(D), QUIET)
        for what, names in changes:
            if what == "append":
                more = [(name, (number := number + 1)) for name in names]
                change_index(path / "index", [table(path / "more.parquet", more)], (), QUIET)
                rows = rows + more
                continue
            there = sorted({name for name, _ in rows} & set(names))
            left = [row for row in rows if row[0] not in there]
            if there and left:
                change_index(path / "index", [], there, QUIET)
                rows = left
        make_index([table(path / "all.parquet", rows)], path / "anew", IndexSettings(D), QUIET)
        assert contents(path / "index") == contents(path / "anew")


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_a_changed_index_finds_what_one_made_anew_finds(tmp_path: Path, kind: str) -> None:
    rows = [(f"{number // 2:03}", number) for number in range(400)]
    make_index(
        [table(tmp_path / "a.parquet", rows[:300])], tmp_path / "index", IndexSettings(D, kind=kind), QUIET
    )
    change_index(tmp_path / "index", [table(tmp_path / "b.parquet", rows[300:])], ["000", "007"], QUIET)
    kept = [row for row in rows if row[0] not in ("000", "007")]
    make_index([table(tmp_path / "c.parquet", kept)], tmp_path / "anew", IndexSettings(D, kind="flat"), QUIET)
    queries = np.stack([vector(number) for number in range(1000, 1020)]).astype(np.float32)
    found = open_folder(tmp_path / "index").gallery.search(queries, 5, T=60)
    expected = open_folder(tmp_path / "anew").gallery.search(queries, 5, T=60)
    assert (found.identity[:, 0] == expected.identity[:, 0]).mean() >= 0.9


def test_an_index_of_few_rows_has_no_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FAISS fits codes on 16 rows or more, which ended in a traceback, of a deletion, too."""
    few = table(tmp_path / "few.parquet", [("a", 0), ("b", 1), ("b", 2)])
    ivf = IndexSettings(D, kind="ivf", over_images=True)
    make_index([few], tmp_path / "few", ivf, Console())
    assert "means: flat (2 rows, fewer than the 16 that" in capsys.readouterr().out
    many = table(tmp_path / "many.parquet", [(f"{number:03}", number) for number in range(100)])
    make_index([many], tmp_path / "index", ivf, QUIET)
    kinds = [open_folder(tmp_path / "index").record.means_index.kind]
    change_index(tmp_path / "index", [], [f"{number:03}" for number in range(90)], QUIET)
    kinds.append(open_folder(tmp_path / "index").record.means_index.kind)
    change_index(
        tmp_path / "index",
        [table(tmp_path / "more.parquet", [(f"{n}", n) for n in range(200, 220)])],
        (),
        QUIET,
    )
    kinds.append(open_folder(tmp_path / "index").record.means_index.kind)
    assert kinds == ["ivf", "flat", "ivf"]


def test_it_is_said_with_how_many_images_an_index_was_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """500 were claimed, whatever there was."""
    for rows, said in (
        (3, "which finds the nearest of 100.0 % of 3 images"),
        (1, "not tried, as there is one row"),
    ):
        some = table(tmp_path / "rows.parquet", [(f"{number}", number) for number in range(rows)])
        make_index([some], tmp_path / f"index{rows}", IndexSettings(D, kind="hnsw"), Console())
        assert said in capsys.readouterr().out
        queries = vector(0)[None].astype(np.float32)
        assert open_folder(tmp_path / f"index{rows}").gallery.search(queries, 1).identity.tolist() == [[0]]


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("where", ["_write_names", "describe_file", "write_json", "sweep"])
def test_killed_anywhere_an_index_is_as_it_was_or_as_it_should_be(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before, more = contents(index), table(tmp_path / "more.parquet", [("z", 9)])

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(write_index, where, kill)
        with pytest.raises(Killed):
            change_index(index, [more], ["a"], QUIET)
    after = contents(index)
    open_folder(index)
    if where != "sweep":
        assert after == before
        change_index(index, [more], ["a"], QUIET)
    assert contents(index)["identities.parquet"]["identity"] == ["b", "n", "z"]
    change_index(index, [], ["z"], QUIET)
    assert len([entry for entry in index.iterdir() if entry.is_dir()]) == 1
    assert contents(index)["identities.parquet"]["identity"] == ["b", "n"]


def test_damage_is_one_line(index: Path) -> None:
    folder = index / "000001"
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for damaged in (whole[:-3], whole[:20] + b"?" + whole[21:]):
            file.write_bytes(damaged)
            with pytest.raises(StaleArtifactError, match=f"{file.name} is damaged.*--force") as error:
                open_folder(index)
            assert "\n" not in str(error.value)
        file.unlink()
        with pytest.raises(StaleArtifactError, match=f"{file.name} is damaged: it is gone"):
            open_folder(index)
        file.write_bytes(whole)
    (index / "index.json").write_text('{"version": 2}')
    with pytest.raises(StaleArtifactError, match=r"index\.json is damaged"):
        open_folder(index)


def test_embeddings_of_another_network_or_size_are_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(StaleArtifactError, match="embedded by network other"):
        change_index(index, [table(tmp_path / "other.parquet", [("z", 1)], "other")], (), QUIET)
    np.save(tmp_path / "wide.npy", np.ones((2, D + 1), np.float32))
    with pytest.raises(StaleArtifactError, match="embeddings of 7 numbers"):
        change_index(index, [EmbeddingTable.open(tmp_path / "wide.npy")], (), QUIET)


def test_wrong_requests_are_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no identity 'x'"):
        change_index(index, [], ["x"], QUIET)
    with pytest.raises(InputError, match="would be empty"):
        change_index(index, [], ["a", "b", "n"], QUIET)
    with pytest.raises(InputError, match="is an index already"):
        index_rows(IndexRequest(tmp_path / "rows.parquet", index), Options(QUIET))
    with pytest.raises(InputError, match="is there and is no index"):
        index_rows(IndexRequest(tmp_path / "rows.parquet", tmp_path), Options(QUIET))
    with pytest.raises(InputError, match="where to"):
        IndexRequest(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="leave out --out"):
        IndexRequest(index, tmp_path / "other", delete=("a",))
    for made, option in (
        ({"kind": "flat"}, "--kind"),
        ({"images": True}, "--images"),
        ({"seed": 7}, "--seed"),
    ):
        with pytest.raises(InputError, match=f"{option} counts when an index is made"):
            IndexRequest(index, delete=("a",), **made)
    with pytest.raises(InputError, match=r"it has no index\.json"):
        change_index(tmp_path, [], ["a"], QUIET)
    assert not (tmp_path / ".lock").exists()


def test_rows_without_an_identity_stand_for_themselves(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", 3 * np.eye(3, dtype=np.float32))
    index_rows(IndexRequest(tmp_path / "rows.npy", tmp_path / "index"), Options(QUIET))
    held = contents(tmp_path / "index")
    assert held["identities.parquet"]["identity"] == [
        f"{tmp_path / 'rows.npy'}#row={row}" for row in range(3)
    ]
    assert held["images.npy"] == np.eye(3).tolist()


def test_rows_of_two_files_without_names_are_different_people(tmp_path: Path) -> None:
    for name, rows in (("a", np.eye(4)[:2]), ("b", np.eye(4)[2:])):
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
    index_rows(IndexRequest(tmp_path / "a.npy", tmp_path / "index"), Options(QUIET))
    index_rows(IndexRequest(tmp_path / "index", append=(tmp_path / "b.npy",)), Options(QUIET))
    assert contents(tmp_path / "index")["identities.parquet"]["images"] == [1, 1, 1, 1]


def test_images_come_in_once(index: Path, tmp_path: Path) -> None:
    more = table(tmp_path / "more.parquet", [("a", 6)])
    change_index(index, [more], (), QUIET)
    before = contents(index)
    with pytest.raises(InputError, match=r"has image '6\.jpg' of .*more\.parquet already; .*--delete a"):
        change_index(index, [more], (), QUIET)
    twice = [table(tmp_path / f"{name}.parquet", [("z", 9)]) for name in ("x", "y")]
    with pytest.raises(InputError, match="already"):
        change_index(index, twice, (), QUIET)
    assert contents(index) == before
    change_index(index, [more], ["a"], QUIET)
    assert contents(index)["identities.parquet"]["images"] == [1, 1, 2]


def test_an_image_without_identity_is_not_taken_for_somebody(index: Path, tmp_path: Path) -> None:
    with embedding_writer(tmp_path / "more.parquet", D, network="net", normalized=True) as writer:
        writer.write(vector(7)[None], {"image": ["a"]})
    with pytest.raises(InputError, match=r"no identity for image 'a', and .* has an identity of that name"):
        change_index(index, [EmbeddingTable.open(tmp_path / "more.parquet")], (), QUIET)


def test_one_command_at_a_time_makes_or_changes_an_index(index: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    table(rows, [("z", 9)])
    for target, request in (
        (index, IndexRequest(index, delete=("a",))),
        (tmp_path / "new", IndexRequest(rows, tmp_path / "new")),
    ):
        with (
            RunDirectory(target).locked("index"),
            pytest.raises(InputError, match="in use by `subspace index`"),
        ):
            index_rows(request, Options(QUIET))
    shutil.rmtree(tmp_path / "new")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(InputError):
        index_rows(IndexRequest(tmp_path / "bad.npy", tmp_path / "new"), Options(QUIET))
    assert not (tmp_path / "new").exists()
    for left in (".000001.99.tmp",):  # of commands that were killed
        (tmp_path / "new" / left).mkdir(parents=True)
    index_rows(IndexRequest(rows, tmp_path / "new"), Options(QUIET))
    assert sorted(entry.name for entry in (tmp_path / "new").iterdir()) == [".lock", "000001", "index.json"]


def test_an_index_that_another_command_has_just_made_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both had seen that nothing is there."""
    rows = tmp_path / "rows.parquet"
    table(rows, [("z", 9)])
    request = IndexRequest(rows, tmp_path / "new")
    plain, looks = index_request.check_target, list[Path]()

    def look(path: Path, force: bool) -> None:
        looks.append(path)
        plain(path, force)
        if len(looks) == 1:
            index_rows(request, Options(QUIET))

    monkeypatch.setattr(index_request, "check_target", look)
    with pytest.raises(InputError, match="is an index already"):
        index_rows(request, Options(QUIET))


def test_folders_that_no_index_wrote_stay_where_they_are(index: Path, tmp_path: Path) -> None:
    """Identities or months in folders of six digits look like the rows of an index by their names alone."""
    faces = tmp_path / "faces"
    for name in ("000000", "000001", "202401"):
        (faces / name).mkdir(parents=True)
        (faces / name / "1.jpg").write_bytes(b"a photo")
    (kept := index / ".git").mkdir()
    for name in ("2024", "000005"):
        (index / name).mkdir()
    (index / "000002").mkdir()
    (index / "000002" / "photo.jpg").write_bytes(b"a photo")  # where the next rows would lie
    (index / "000001" / ".DS_Store").write_bytes(b"of a file manager")
    shutil.copytree(index / "000001", index / ".000002.4194305.tmp")  # of a change that was killed
    source = table(tmp_path / "new.parquet", [("c", 9)])
    with pytest.raises(InputError, match="is there and is no index; name another --out"):
        index_rows(IndexRequest(tmp_path / "new.parquet", faces), Options(QUIET))
    assert len(list(faces.glob("*/1.jpg"))) == 3
    change_index(index, [source], [], QUIET)
    assert sorted(path.name for path in index.iterdir() if path.name != ".lock") == [
        ".git",
        "000001",
        "000002",
        "000003",
        "000005",
        "2024",
        "index.json",
    ]
    assert [path.name for path in (index / "000001").iterdir()] == [".DS_Store"]  # no rows are left there
    assert [path.name for path in (index / "000002").iterdir()] == ["photo.jpg"]
    assert kept.is_dir()


def test_names_are_read_after_a_change_took_the_rows_away(index: Path, tmp_path: Path) -> None:
    opened = open_folder(index)
    before = opened.image_names.at(np.arange(6)), opened.identity_names.at(np.array([2, 0]))
    change_index(index, [table(tmp_path / "new.parquet", [("a", 9)])], [], QUIET)
    assert not (index / "000001").exists()
    assert (opened.image_names.at(np.arange(6)), opened.identity_names.at(np.array([2, 0]))) == before

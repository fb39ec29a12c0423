"""Files are whole or absent after an exception, a kill at any moment or a full disk; damage is the user's one line.

Covers mining/fingerprints.py, mining/parquet_tables.py and mining/schemas.py as well.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining import artifacts
from subspace.mining.artifacts import (
    displaced,
    in_place,
    point_to,
    remove,
    remove_leftovers,
    take_room,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)
from subspace.mining.errors import InputError, StaleArtifactError
from subspace.mining.fingerprints import fingerprint_of
from subspace.mining.parquet_tables import (
    fingerprint_in,
    metadata_of,
    open_parquet,
    parquet_writer,
    read_parquet,
    write_parquet,
)
from subspace.mining.schemas import PLAN, SCHEMA_VERSION, SUBSPACES


def subspaces_table(rows: int = 5) -> pa.Table:
    return pa.table(
        {
            "identity_id": np.arange(rows, dtype=np.int32),
            "subspace_id": (np.arange(rows) % 3).astype(np.int32),
            "similarity": np.random.default_rng(0).random(rows).astype(np.float32),
        }
    )


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    path = tmp_path / "subspaces.parquet"
    write_parquet(path, SUBSPACES, subspaces_table(), "f" * 32)
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_one_line(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


class BoomError(Exception):
    """An error that no code catches by kind."""


# --- written whole ---------------------------------------------------------------------------------------


def test_a_file_appears_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    for content in ("old", "new"):
        with whole_file(path) as aside:
            aside.write_text(content)
            assert aside.parent == path.parent  # renaming across file systems would be a copy
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content
    assert names_in(path.parent) == ["a.txt"]


def test_a_folder_replaces_the_old_one_with_nothing_of_it_left(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    for name in ("old", "new"):
        with whole_folder(path) as aside:
            (aside / name).write_text(name)
            (aside / "both").write_text(name)
    assert names_in(path) == ["both", "new"]
    assert (path / "both").read_text() == "new"
    assert names_in(tmp_path) == ["plan"]


def test_a_folder_that_work_is_done_in_is_not_made_anew_where_it_was(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir()
    with in_place(place):
        write_text(place / "a", "a")
        assert displaced() is None
        place.rename(elsewhere)
        for writing in (whole_file, whole_folder):
            with pytest.raises(InputError) as error, writing(place / "new" / "b"):
                pass
            assert_one_line(error, f"{place} was moved, removed or replaced")
        write_text(tmp_path / "c", "outside of it")
        assert displaced() is not None
        assert displaced(tmp_path / "c") is None
        assert not place.exists()
        elsewhere.rename(place)
        write_text(place / "a", "back")
    place.rename(elsewhere)
    write_text(place / "a", "made anew")
    assert names_in(tmp_path) == ["c", "elsewhere", "place"]


def test_a_folder_that_another_machine_removed_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(descriptor: int) -> None:  # as NFS says of what was removed on its server
        raise OSError(errno.ESTALE, "Stale file handle")

    with in_place(tmp_path), monkeypatch.context() as patched:
        patched.setattr(os, "fstat", stale)
        assert displaced() is not None


def write_half(writing: Any, path: Path) -> None:
    with writing(path) as aside:
        (aside / "half" if aside.is_dir() else aside).write_text("half")
        raise BoomError


def write_half_a_table(path: Path) -> None:
    with parquet_writer(path, SUBSPACES, subspaces_table().schema) as writer:
        writer.write_table(subspaces_table())
        raise BoomError


def test_a_link_is_replaced_without_a_moment_of_none(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    link = tmp_path / "link"
    point_to(link, Path("one"))
    script = (
        "import sys, pathlib\nlink, read = pathlib.Path(sys.argv[1]), 0\nprint(flush=True)\n"
        "while link.joinpath('name').read_text() in ('one', 'two') and not link.with_name('end').exists():\n"
        "    read += 1\nprint(read)"
    )
    reader = subprocess.Popen([sys.executable, "-c", script, link], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    reader.stdout.readline()
    for turn in range(200):
        point_to(link, Path(("one", "two")[turn % 2]))
    (tmp_path / "end").touch()
    told, _ = reader.communicate()
    assert reader.returncode == 0
    assert int(told) > 10
    assert link.readlink() == Path("two")
    assert names_in(tmp_path) == ["end", "link", "one", "two"]


def test_no_link_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        point_to(tmp_path / "folder", Path("elsewhere"))
    assert names_in(tmp_path) == ["folder"]


def test_a_link_is_removed_and_what_it_points_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for target in ("folder", "nowhere"):
        point_to(tmp_path / "link", Path(target))
        remove(tmp_path / "link")
        assert names_in(tmp_path) == ["folder"]


def test_an_exception_leaves_the_old_file_or_folder_or_none(tmp_path: Path, table_path: Path) -> None:
    old = table_path.read_bytes()
    write_text(tmp_path / "file", "old")
    write_text(tmp_path / "folder" / "inside", "old")
    for path in (table_path, tmp_path / "new table"):
        with pytest.raises(BoomError):
            write_half_a_table(path)
    for writing, name in ((whole_file, "file"), (whole_folder, "folder")):
        for path in (tmp_path / name, tmp_path / f"new {name}"):
            with pytest.raises(BoomError):
                write_half(writing, path)
    assert table_path.read_bytes() == old
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "folder" / "inside").read_text() == "old"
    assert names_in(tmp_path) == ["file", "folder", "subspaces.parquet"]
    assert names_in(tmp_path / "folder") == ["inside"]


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from subspace.mining.artifacts import whole_file, whole_folder
from subspace.mining.parquet_tables import parquet_writer
from subspace.mining.schemas import SUBSPACES

folder, deaths = Path(sys.argv[1]), ("body", "fsync", "replace")
table = pa.table({"identity_id": pa.array([1], pa.int32()), "subspace_id": pa.array([1], pa.int32()),
                  "similarity": pa.array([1], pa.float32())})

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def write(what, moment):
    if moment != "body":
        setattr(os, moment, die)
    if what == "table":
        with parquet_writer(folder / what, SUBSPACES, table.schema) as writer:
            writer.write_table(table)
            moment == "body" and die()
    elif what == "file":
        with whole_file(folder / what) as aside, open(aside, "w") as file:
            file.write("ne"), file.flush()
            moment == "body" and die()
            file.write("w")
    else:
        with whole_folder(folder / what) as aside:
            (aside / "first").write_text("new")
            moment == "body" and die()
            (aside / "second").write_text("new")

for what in ("table", "file", "folder"):
    for moment in deaths:
        if (child := os.fork()) == 0:
            write(what, moment)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, (what, moment)
"""


def run_script(script: str, *arguments: Path | str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("existed", [False, True])
def test_sigkill_leaves_the_old_file_or_none(tmp_path: Path, existed: bool) -> None:
    if existed:
        write_parquet(tmp_path / "table", SUBSPACES, subspaces_table(), "0")
        write_text(tmp_path / "file", "old")
        write_text(tmp_path / "folder" / "first", "old")
    run_script(KILLED, tmp_path)

    visible = [name for name in names_in(tmp_path) if not name.startswith(".")]
    if existed:
        assert visible in (["file", "folder", "table"], ["file", "table"])
        assert read_parquet(tmp_path / "table", SUBSPACES).equals(subspaces_table())
        assert (tmp_path / "file").read_text() == "old"
        if "folder" in visible:
            assert names_in(tmp_path / "folder") == ["first"]
            assert (tmp_path / "folder" / "first").read_text() == "old"
    else:
        assert visible == []

    leftovers = len(names_in(tmp_path)) - len(visible)
    assert (
        leftovers >= 7
    )  # the kills came in the middle of something; a folder removes what earlier ones left
    write_text(tmp_path / "file", "new")
    with whole_folder(tmp_path / "folder") as aside:
        (aside / "third").write_text("new")
    assert (tmp_path / "file").read_text() == "new"
    assert names_in(tmp_path / "folder") == ["third"]


KILLED_WHILE_REPLACING = """
import os, sys
from pathlib import Path
from subspace.mining.artifacts import whole_folder

removed, unlink = [], os.unlink
def unlink_then_die(*args, **kwargs):
    unlink(*args, **kwargs)
    os._exit(0)
os.unlink = unlink_then_die
with whole_folder(Path(sys.argv[1])) as aside:
    (aside / "meta.json").write_text("new")
    (aside / "model").write_text("new")
"""


def test_a_kill_while_the_old_folder_is_removed_leaves_no_half_folder(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for name in ("meta.json", "model"):
        write_text(path / name, "old")
    run_script(KILLED_WHILE_REPLACING, path)
    assert not path.exists() or names_in(path) == ["meta.json", "model"]


# --- disks and folders that refuse -----------------------------------------------------------------------


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files of this process may not grow beyond `size`: what a quota, or nearly a full disk, does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_bytes_is_told_in_one_line(tmp_path: Path, table_path: Path) -> None:
    old = table_path.read_bytes()
    incompressible = pa.table(
        {
            "identity_id": np.arange(50_000, dtype=np.int32),
            "subspace_id": np.random.default_rng(0).integers(0, 1 << 30, 50_000, np.int32),
            "similarity": np.random.default_rng(1).random(50_000, np.float32),
        }
    )
    with pytest.raises(InputError) as error, largest_file(20_000):
        write_parquet(table_path, SUBSPACES, incompressible, "0")
    assert_one_line(error, f"cannot write {table_path}", "free space")
    with pytest.raises(InputError) as error, largest_file(20_000):
        write_text(tmp_path / "text", "x" * 100_000)
    assert_one_line(error, f"cannot write {tmp_path / 'text'}", "File too large")
    with (
        pytest.raises(InputError) as error,
        largest_file(20_000),
        whole_folder(tmp_path / "folder") as aside,
    ):
        (aside / "inside").write_bytes(bytes(100_000))
    assert_one_line(error, f"cannot write {tmp_path / 'folder'}")

    assert table_path.read_bytes() == old
    assert names_in(tmp_path) == ["subspaces.parquet"]


def write_to_a_full_disk(path: Path) -> None:
    with whole_file(path) as aside, open("/dev/full", "wb", buffering=0) as full:
        aside.write_bytes(b"half")
        full.write(b"rest")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        write_to_a_full_disk(tmp_path / "a")
    assert_one_line(error, f"cannot write {tmp_path / 'a'}: No space left on device")
    assert names_in(tmp_path) == []


def fails_with(number: int) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("writing", [whole_file, whole_folder])
def test_a_failing_sync_or_rename_is_told_and_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, writing: Any
) -> None:
    if call == "fsync":  # the first sync is of what was written aside
        write_text(tmp_path / "a" / "inside" if writing is whole_folder else tmp_path / "a", "old")
    before = names_in(tmp_path)
    monkeypatch.setattr(artifacts.os, call, fails_with(errno.ENOSPC))
    with pytest.raises(InputError) as error, writing(tmp_path / "a") as aside:
        (aside / "x" if aside.is_dir() else aside).write_text("new")
    assert_one_line(error, f"cannot write {tmp_path / 'a'}", "No space left on device")
    assert names_in(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("writing", [whole_file, whole_folder])
def test_an_unwritable_folder_is_told_in_one_line(tmp_path: Path, writing: Any) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError) as error, writing(tmp_path / "a") as aside:
            aside.write_text("new")
    finally:
        tmp_path.chmod(0o700)
    assert_one_line(error, f"cannot write {tmp_path / 'a'}", "Permission denied")


@pytest.mark.parametrize(
    "writing",
    [
        whole_file,
        whole_folder,
    ],
)
def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path, writing: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as error, writing(tmp_path / "file" / "a") as aside:
        aside.write_text("new")
    assert_one_line(error, f"cannot write {tmp_path / 'file' / 'a'}")


# --- JSON ------------------------------------------------------------------------------------------------


def test_json_is_written_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"zoë": [1, 2.5, None], "a": {"b": "\n"}}
    write_json(path, value)
    assert list(json.loads(path.read_bytes())) == ["zoë", "a"]
    assert "zoë" in path.read_text(encoding="utf-8")


# --- tables ----------------------------------------------------------------------------------------------


def test_a_table_comes_back_with_its_metadata(table_path: Path) -> None:
    assert read_parquet(table_path, SUBSPACES).equals(subspaces_table())
    assert read_parquet(table_path, SUBSPACES, ["similarity"]).column_names == ["similarity"]
    metadata = metadata_of(open_parquet(table_path, SUBSPACES))
    assert metadata["created_by"].startswith("subspace-mining ")
    del metadata["created_by"]
    assert metadata == {"schema_version": str(SCHEMA_VERSION), "kind": "subspaces", "fingerprint": "f" * 32}
    assert fingerprint_in(table_path, SUBSPACES) == "f" * 32


def test_other_programs_read_the_table_and_its_metadata(table_path: Path) -> None:
    plain = pq.read_table(table_path)
    assert plain.equals(subspaces_table())
    raw = pq.read_metadata(table_path).metadata
    assert raw[b"fingerprint"] == b"f" * 32
    assert raw[b"schema_version"] == str(SCHEMA_VERSION).encode()
    rows = duckdb.sql(f"SELECT subspace_id, count(*) FROM '{table_path}' GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [(0, 2), (1, 2), (2, 1)]
    told = duckdb.sql(
        f"SELECT key::VARCHAR, value::VARCHAR FROM parquet_kv_metadata('{table_path}')"
    ).fetchall()
    assert ("fingerprint", "f" * 32) in told
    assert {"schema_version", "created_by", "kind"} <= {key for key, _ in told}


def test_a_fingerprint_may_come_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = subspaces_table()
    with parquet_writer(path, SUBSPACES, table.schema) as writer:
        for row in range(len(table)):
            writer.write_table(table.slice(row, 1))
        writer.add_key_value_metadata({"fingerprint": "late"})
    assert fingerprint_in(path, SUBSPACES) == "late"
    assert open_parquet(path).num_row_groups == len(table)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_parquet(tmp_path / name, SUBSPACES, subspaces_table(1000), "same")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_parquet(tmp_path / "b", SUBSPACES, subspaces_table(1000), "other")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_every_truncation_is_told_in_one_line(table_path: Path) -> None:
    whole = table_path.read_bytes()
    for length in range(0, len(whole), 7):
        table_path.write_bytes(whole[:length])
        with pytest.raises(InputError) as error:
            open_parquet(table_path, SUBSPACES)
        assert_one_line(error, str(table_path))


def read_with_flipped_bytes(path: Path, places: range) -> int:
    """Read the table once for each place, with the byte there inverted; return how often one line refused it."""
    whole = path.read_bytes()
    refused = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_parquet(path, SUBSPACES)
        except InputError as error:
            refused += "\n" not in str(error)
    return refused


def footer_start(path: Path) -> int:
    whole = path.read_bytes()
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def test_flipped_bytes_of_the_data_are_no_crash(table_path: Path) -> None:
    places = range(0, footer_start(table_path), 3)
    assert read_with_flipped_bytes(table_path, places) > len(places) / 3


def test_flipped_bytes_of_the_footer_are_no_crash(table_path: Path) -> None:
    places = range(footer_start(table_path), table_path.stat().st_size, 3)
    assert read_with_flipped_bytes(table_path, places) > len(places) / 3


def test_what_is_no_such_table_is_told_in_one_line(tmp_path: Path, table_path: Path) -> None:
    (tmp_path / "text").write_text("identity_id,subspace_id\n1,2\n")
    other_type = subspaces_table().set_column(0, "identity_id", pa.array(range(5), pa.int64()))
    pq.write_table(other_type, tmp_path / "other type")
    pq.write_table(subspaces_table().drop(["similarity"]), tmp_path / "column missing")
    cases = [
        ("missing", "does not exist"),
        ("text", "is not a readable Parquet file"),
        ("", "is a folder, not a Parquet file"),
        ("other type", "is not a subspaces table: it has a column 'identity_id' of int64, not of int32"),
        ("column missing", "has no column 'similarity'"),
    ]
    for name, message in cases:
        with pytest.raises(InputError) as error:
            open_parquet(tmp_path / name, SUBSPACES)
        assert_one_line(error, str(tmp_path / name), message)
    with pytest.raises(InputError, match="is not a plan table"):
        read_parquet(table_path, PLAN)
    assert open_parquet(tmp_path / "other type").metadata.num_rows == 5  # any table, where no kind is asked


def test_foreign_and_later_tables_are_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(subspaces_table(), path)
    with pytest.raises(StaleArtifactError, match="carries no fingerprint"):
        fingerprint_in(path, SUBSPACES)
    later = {
        "fingerprint": "f",
        "schema_version": str(SCHEMA_VERSION + 1),
        "created_by": "subspace-mining 99",
    }
    pq.write_table(subspaces_table().replace_schema_metadata(later), path)
    with pytest.raises(StaleArtifactError) as error:
        fingerprint_in(path, SUBSPACES)
    assert_one_line(error, str(path), "subspace-mining 99", "upgrade")


@pytest.mark.parametrize("foreign", [{b"maker": b"\xff"}, {b"schema_version": b"1.2", b"fingerprint": b"f"}])
def test_foreign_metadata_is_no_crash(tmp_path: Path, foreign: dict[bytes, bytes]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(subspaces_table().replace_schema_metadata(foreign), path)
    with pytest.raises((StaleArtifactError, InputError)):
        fingerprint_in(path, SUBSPACES)


def test_a_wrong_schema_of_our_own_is_a_bug_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="subspaces"):
        write_parquet(tmp_path / "a", SUBSPACES, pa.table({"x": [1]}), "f")
    assert names_in(tmp_path) == []


# --- fingerprints ----------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
fields = st.dictionaries(
    st.text(max_size=5),
    st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=5,
)


@given(fields, st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(one: dict[str, Any], random: Any) -> None:
    keys = list(one)
    random.shuffle(keys)
    print_ = fingerprint_of({key: one[key] for key in keys})
    assert print_ == fingerprint_of(one)
    assert len(print_) == 32
    assert set(print_) <= set("0123456789abcdef")


@given(fields, fields)
def test_a_fingerprint_changes_with_any_field(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # 1, 1.0 and true differ
    assert (fingerprint_of(one) == fingerprint_of(other)) == same


@given(fields, st.text(max_size=5), leaves)
def test_a_fingerprint_changes_with_one_more_or_another_value(
    one: dict[str, Any], key: str, value: Any
) -> None:
    changed = one | {key: value}
    unchanged = key in one and json.dumps(one[key]) == json.dumps(value)
    assert (fingerprint_of(changed) == fingerprint_of(one)) == unchanged


def test_a_fingerprint_is_the_same_on_every_machine() -> None:
    assert (
        fingerprint_of({"seed": 1, "names": ["zoë", None], "lr": 1e-3}) == "069b2274b51654bf2ab3768705b5df07"
    )


def test_what_the_dead_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f".a.parquet.{dead.pid}.old").mkdir()
    (tmp_path / f".a.parquet.{dead.pid}.old" / "inside").touch()
    stay = [
        "a.parquet",
        f".a.parquet.{os.getpid()}.tmp",
        ".a.parquet.x.tmp",
        f".b.parquet.{dead.pid}.tmp",
        f".a.parquet.{dead.pid}.txt",
    ]
    for name in (*stay, f".a.parquet.{dead.pid}.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "a.parquet")
    assert sorted(names_in(tmp_path)) == sorted(stay)
    remove_leftovers(tmp_path / "nowhere" / "a.parquet")


@pytest.mark.skipif(sys.platform != "linux", reason="posix_fallocate")
def test_room_that_is_not_there_is_an_error_and_no_death(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open(tmp_path / "map", "w+b") as file:
        take_room(file.fileno(), 5000)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 5000
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                take_room(file.fileno(), 1 << 20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

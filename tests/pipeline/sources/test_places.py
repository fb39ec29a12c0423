"""Sources and images behind URLs: on fsspec's memory, and on an S3 server of this machine through the command line.

Covers pipeline/sources/remote_listing.py, pipeline/sources/source_bytes.py and mining/remote.py too.
"""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from labelled_pictures import ingested, pictures, pixel_sums
from PIL import Image
from written_shards import insightface, write_rec, write_tar

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.mining.remote import joined_url, url_of
from subspace.pipeline.sources import source_bytes
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions
from subspace.pipeline.sources.places import placed_from
from subspace.pipeline.sources.remote_listing import remote_sizes

fsspec = pytest.importorskip("fsspec")
NO_TEST = IngestOptions(test_fraction=0)
FILES = {
    f"photos/{who}/{number}.png": f"{who}{number}".encode() for who in ("ann", "bob") for number in range(3)
}


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in fsspec's memory with the images of `FILES`."""
    files = fsspec.filesystem("memory")
    for name, data in FILES.items():
        files.pipe_file(f"/set/{name}", data)
    yield "memory://set"
    files.rm("/set", recursive=True)


def uris(manifest: Path) -> list[str]:
    return Manifest.open(manifest).table["uri"].to_pylist()


def test_a_remote_folder_is_listed_like_a_local_one(memory: str, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    local = ingest_images(tmp_path / "photos", tmp_path / "local.parquet", NO_TEST)
    remote = ingest_images(Path(f"{memory}/photos"), tmp_path / "remote.parquet", NO_TEST)
    assert [uri.removeprefix(f"{memory}/") for uri in uris(remote.out)] == [
        str(Path(uri).relative_to(tmp_path.resolve())) for uri in uris(local.out)
    ]
    assert (remote.images, remote.identities, remote.reading) == (6, 2, local.reading)


@pytest.mark.parametrize("root", [None, "memory://set/photos"])
def test_paths_of_a_remote_table_start_from_its_folder_or_root(
    memory: str, tmp_path: Path, root: str | None
) -> None:
    start = "" if root else "../photos/"
    rows = [f"{start}ann/0.png,ann", f"{start}bob/./1.png,bob", f"{memory}/photos/bob/2.png,bob"]
    fsspec.filesystem("memory").pipe_file("/set/tables/list.csv", "\n".join(["path,label", *rows]).encode())
    options = IngestOptions(test_fraction=0, root=Path(root) if root else None)
    ingest_images(Path(f"{memory}/tables/list.csv"), tmp_path / "m.parquet", options)
    expected = ["ann/0.png", "bob/1.png", "bob/2.png"]
    assert uris(tmp_path / "m.parquet") == [f"{memory}/photos/{name}" for name in expected]


def test_a_remote_parquet_lists_or_holds_images(memory: str, tmp_path: Path) -> None:
    tables = {
        "paths": pa.table({"path": ["photos/ann/0.png", "photos/bob/0.png"], "label": ["ann", "bob"]}),
        "inline": pa.table({"image": [b"x", b"y"], "label": ["ann", "bob"]}),
    }
    for name, table in tables.items():
        with fsspec.open(f"{memory}/{name}.parquet", "wb") as file:
            pq.write_table(table, file)
        ingest_images(Path(f"{memory}/{name}.parquet"), tmp_path / f"{name}.parquet", NO_TEST)
    assert uris(tmp_path / "paths.parquet") == [f"{memory}/photos/{who}/0.png" for who in ("ann", "bob")]
    assert Manifest.open(tmp_path / "inline.parquet").table["image"].to_pylist() == [b"x", b"y"]


def test_missing_and_empty_remote_images_are_bad_ones(memory: str, tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/set/photos/ann/empty.png", b"")
    source = tmp_path / "list.csv"
    names = ["ann/0.png", "ann/empty.png", "bob/0.png", "bob/gone.png", "gone/0.png"]
    source.write_text("\n".join(["path,label", *(f"photos/{name},{name[0]}" for name in names)]))
    options = IngestOptions(test_fraction=0, root=Path(memory))
    with pytest.raises(
        InputError,
        match=r"2 images are bad \(not an existing file\), the first is memory://set/photos/bob/gone",
    ):
        ingest_images(source, tmp_path / "m.parquet", options)
    assert remote_sizes([f"{memory}/photos/{name}" for name in names], lambda files: None).tolist() == [
        4, 0, 4, -1, -1,
    ]  # fmt: skip


def test_a_remote_manifest_is_read_and_its_uris_start_there(memory: str, tmp_path: Path) -> None:
    made = ingest_images(Path(f"{memory}/photos"), tmp_path / "m.parquet", NO_TEST)
    fsspec.filesystem("memory").pipe_file("/set/m.parquet", made.out.read_bytes())
    manifest = Manifest.open(f"{memory}/m.parquet")
    assert manifest.table.equals(Manifest.open(made.out).table)
    assert (manifest.address, manifest.folder) == (f"{memory}/m.parquet", memory)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("memory://set/nowhere", "memory://set/nowhere does not exist, or is an empty folder"),
        ("memory://set/nowhere.csv", "memory://set/nowhere.csv does not exist"),
        ("memory://set/nowhere.parquet", "memory://set/nowhere.parquet does not exist"),
        ("memory://set/nowhere.tar", "memory://set/nowhere.tar"),
        ("memory://set/nowhere.rec", "memory://set/nowhere.rec"),
        ("ftp://host/list.csv", "ftp://host/list.csv cannot be read"),
        ("https://example.org/photos", "a web server lists no folders"),
    ],
)
def test_a_source_that_is_not_there_is_one_line(
    memory: str, tmp_path: Path, source: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        ingest_images(Path(source), tmp_path / "m.parquet", NO_TEST)
    with pytest.raises(InputError, match="is a URL: images and manifests are read from there"):
        ingest_images(Path(f"{memory}/photos"), Path(f"{memory}/m.parquet"), NO_TEST)


def test_an_absent_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object, **options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    with pytest.raises(InputError, match=r"needs the package s3fs: pip install 'subspace-mining\[remote\]'"):
        Manifest.open("s3://bucket/m.parquet")


@pytest.mark.parametrize(
    ("folder", "name", "whole"),
    [
        ("s3://b/t", "a/1.jpg", "s3://b/t/a/1.jpg"),
        ("s3://b/t", "../a/./1.jpg", "s3://b/a/1.jpg"),
        ("s3://b", "../../1.jpg", "s3://b/1.jpg"),
        ("s3://b/t/u", "/1.jpg", "s3://b/1.jpg"),
        ("https://h:80/t", "a%20b ü?.jpg", "https://h:80/t/a%20b ü?.jpg"),
        ("s3://b/t", "gs://c/1.jpg", "gs://c/1.jpg"),
    ],
)
def test_paths_below_a_url(folder: str, name: str, whole: str) -> None:
    assert joined_url(folder, name) == whole
    assert placed_from(folder)(pa.array([name], pa.large_string())).to_pylist() == [whole]
    assert url_of(Path(whole)) == whole


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of `tmp_path`, as `python -m http.server` is: it gives no parts of files. broken.* break off."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None: ...

        def copyfile(self, source: Any, outputfile: Any) -> None:
            data = source.read()
            outputfile.write(data[: len(data) // 2] if "broken" in self.path else data)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_images_on_a_web_server(web: str, tmp_path: Path) -> None:
    for name in ("a.png", "b c.png"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "list.csv").write_text("path,label\na.png,a\nb c.png,b\n")
    ingest_images(Path(f"{web}/list.csv"), tmp_path / "m.parquet", NO_TEST)
    assert uris(tmp_path / "m.parquet") == [f"{web}/a.png", f"{web}/b c.png"]
    assert remote_sizes([f"{web}/a.png", f"{web}/gone.png"], lambda files: None).tolist() == [5, -1]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("whole.parquet", "cannot read {url}: its server gives no parts of files"),
        ("broken.csv", "cannot read {url}: "),
        ("broken.lst", "cannot read {url}: "),
        ("gone.csv", "{url} does not exist"),
        ("gone.parquet", "{url} does not exist"),
        ("gone.npz", "{url} does not exist"),
    ],
)
def test_what_a_web_server_does_not_give_is_one_line(
    web: str, tmp_path: Path, name: str, complaint: str
) -> None:
    row = f"0\t1\t{'x' * 90}.jpg\n" if name.endswith("lst") else f"{'x' * 90}.jpg,ann\n"
    (tmp_path / name.replace("gone", "there")).write_text("path,label\n" * ("csv" in name) + row * 100_000)
    if name == "whole.parquet":
        pq.write_table(pa.table({"path": ["a.png"], "label": ["a"]}), tmp_path / name)
    with pytest.raises(InputError) as caught:
        ingest_images(Path(f"{web}/{name}"), tmp_path / "m.parquet", NO_TEST)
    assert str(caught.value).startswith(complaint.format(url=f"{web}/{name}"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["list.csv", "m.parquet", "a.tar", "a.npz"])
def test_a_refused_connection_is_no_missing_file(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/{name}"  # bound, and nothing listens
        with pytest.raises(InputError, match=f"cannot read {url}: .*connect.*; check the address"):
            ingest_images(Path(url), tmp_path / "m.parquet", NO_TEST)
        with pytest.raises(InputError, match=f"cannot read {url}: "):
            remote_sizes([url], lambda files: None)
        with pytest.raises(InputError, match=f"cannot read {url}: "):
            Manifest.open(url)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server of this machine, and a bucket there."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("photos", exist_ok=True)
    yield "s3://photos"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
def test_the_command_line_on_s3(bucket: str, small_source: Path, tmp_path: Path) -> None:
    import s3fs

    table = pq.read_table(small_source)
    table = table.take(pa.array(range(0, table.num_rows, 3)))  # two images of each identity
    files, pack, rows = s3fs.S3FileSystem(), b"", ["path,label,split,offset,length"]
    for place, row in enumerate(table.to_pylist()):
        who = f"{row['identity']},{row['split']}"
        if place % 2:
            rows.append(f"images/{row['identity']}/{place}.png,{who},,")
            files.pipe_file(f"photos/images/{row['identity']}/{place}.png", row["image"])
        else:
            rows.append(f"pack.bin,{who},{len(pack)},{len(row['image'])}")
            pack += row["image"]
    files.pipe_file("photos/pack.bin", pack)
    files.pipe_file("photos/list.csv", "\n".join(rows).encode())

    done = subspace("ingest", f"{bucket}/list.csv", "--out", tmp_path / "m.parquet", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == table.num_rows
    files.put_file(str(tmp_path / "m.parquet"), "photos/m.parquet")
    done = subspace("inspect", f"{bucket}/m.parquet", "--check", "--num-workers", "2")
    assert done.returncode == 0, done.stderr
    assert f"{bucket}/m.parquet: all {table.num_rows} images can be decoded" in done.stdout
    done = subspace("init", tmp_path / "run", "--manifest", f"{bucket}/m.parquet", *QUICK)
    assert done.returncode == 0, done.stderr
    workers = ("extract.num_workers=2", "pretrain.num_workers=2")
    for stage in ("pretrain", "extract"):
        done = subspace(stage, tmp_path / "run", *workers)
        assert done.returncode == 0, done.stderr
    found = pq.read_table(tmp_path / "run" / "round-000" / "identities.parquet")

    trained = table.filter(pc.is_in(table["split"].cast(pa.string()), pa.array(["train", "pretrain"])))
    counts = trained.group_by("identity").aggregate([("split", "count")]).sort_by("identity")
    assert found["identity"].to_pylist() == counts["identity"].to_pylist()
    assert found["images"].to_pylist() == counts["split_count"].to_pylist()


def test_what_s3_refuses_is_one_line(bucket: str, tmp_path: Path) -> None:
    done = subspace("ingest", "s3://nowhere/list.csv", "--out", tmp_path / "m.parquet")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "s3://nowhere/list.csv does not exist" in done.stderr
    done = subspace("ingest", "s3://nowhere/photos", "--out", tmp_path / "m.parquet")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert os.listdir(tmp_path) == []


# Shards behind URLs


def test_remote_shards_and_arrays_decode_as_local_ones(tmp_path: Path) -> None:
    made = pictures(kind="PNG")
    write_tar(
        tmp_path / "a.tar",
        [file for one in made for file in ((one.name, one.data), (f"{one.name[:4]}.cls", b"%d" % one.label))],
    )
    write_rec(tmp_path / "a.rec", insightface([(one.label, one.data) for one in made]))
    images = np.stack([np.asarray(Image.open(io.BytesIO(one.data))) for one in made])
    np.savez(tmp_path / "a.npz", images=images, labels=[one.label for one in made])
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "a_labels.npy", [one.label for one in made])
    files = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        files.pipe_file(f"/shards/{path.name}", path.read_bytes())
    sums = set()
    for name in ("a.tar", "a.rec", "a.npz", "a.npy"):
        for source in (tmp_path / name, Path(f"memory://shards/{name}")):
            summary = ingested(source, tmp_path / "m.parquet")
            sums.add(tuple(pixel_sums(summary.out)))
            assert (uris(summary.out)[0] == f"memory://shards/{name}") == (
                name[2] in "tr" and source.parent != tmp_path
            )
    assert len(sums) == 1
    files.pipe_file("/shards/b.tar", files.cat_file("/shards/a.tar"))
    both = ingested([Path(f"memory://shards/{name}.tar") for name in "ab"], tmp_path / "m.parquet")
    assert both.images == 2 * len(made)
    for name in ("a.tar", "a.rec", "a.npz", "a.npy", "a.idx"):
        whole = files.cat_file(f"/shards/{name}")
        files.pipe_file(f"/shards/{name}", whole[: len(whole) // 3])
        with pytest.raises(InputError) as caught:
            ingested(Path(f"memory://shards/{name.replace('idx', 'rec')}"), tmp_path / "m.parquet")
        assert "\n" not in str(caught.value)
        files.pipe_file(f"/shards/{name}", whole)
    files.rm("/shards", recursive=True)


@pytest.mark.parametrize("window", [1, 7, 100])
def test_windows_give_every_slice(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_bytes, "_WINDOW", window)
    whole = bytes(range(50))
    fsspec.filesystem("memory").pipe_file("/whole.bin", whole)
    with source_bytes.opened(Path("memory://whole.bin")) as data:
        assert len(data) == 50
        for begin in (0, 3, 49, 50, 60):
            for end in (0, 4, 50, 99):
                assert data[begin:end] == whole[begin:end]

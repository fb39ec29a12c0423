"""Bytes of remote images: every range as it lies there, what is missing said, also in forked loader workers.

Covers train/data/piece_runs.py too.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from subspace.mining.manifest import Manifest
from subspace.train.data.batches import DecodedBatches, ImageChunks, load_batches
from subspace.train.data.image_files import Piece, read_pieces
from subspace.train.data.images import ImageStore

fsspec = pytest.importorskip("fsspec")
DATA = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()


@pytest.fixture
def pack() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.pipe_file("/remote/pack", DATA)
    files.pipe_file("/remote/a[1]*.bin", b"one")
    files.pipe_file("/remote/empty", b"")
    yield "memory://remote/pack"
    files.rm("/remote", recursive=True)


def test_any_pieces_of_any_files_are_their_bytes(pack: str, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"local")
    random = np.random.default_rng(1)
    offsets = random.integers(0, len(DATA) - 5_000, 90).tolist()
    lengths = random.integers(0, 5_000, 90).tolist()
    pieces = [Piece(pack, o, n, place) for place, (o, n) in enumerate(zip(offsets, lengths, strict=True))]
    pieces += [
        Piece("memory://remote/a[1]*.bin", 0, None, 90), Piece(str(tmp_path / "local"), 0, None, 91),
        Piece(pack, len(DATA) - 9, None, 92), Piece("memory://remote/empty", 0, None, 93),
    ]  # fmt: skip
    found = dict(read_pieces([pieces[i] for i in random.permutation(len(pieces))]))
    assert len(found) == 94
    for piece in pieces[:90]:
        assert found[piece.place] == DATA[piece.offset : piece.offset + (piece.length or 0)]
    assert [found[place] for place in range(90, 94)] == [b"one", b"local", DATA[-9:], b""]


def test_what_is_missing_is_said_of_each_piece(pack: str) -> None:
    pieces = [
        Piece("memory://remote/gone", 0, None, 0), Piece("memory://remote/gone", 5, 5, 1),
        Piece(pack, len(DATA) - 5, 10, 2), Piece(pack, len(DATA) - 9, 9, 3),
    ]  # fmt: skip
    found = dict(read_pieces(pieces))
    for place in (0, 1):
        assert isinstance(found[place], FileNotFoundError)
        assert "memory://remote/gone" in str(found[place])
    assert "ends before byte" in str(found[2])
    assert found[3] == DATA[-9:]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server, which knows no byte ranges; its client runs on the thread that fsspec keeps."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_forked_workers_read_after_their_parent_did(server: str, tmp_path: Path, num_workers: int) -> None:
    for value in range(12):
        Image.new("RGB", (8, 8), (value, value, value)).save(png := io.BytesIO(), "PNG")
        (tmp_path / f"{value}.png").write_bytes(png.getvalue())
    (tmp_path / "5.png").unlink()
    nothing = pa.nulls(12, pa.int64())
    rows = {"uri": [f"{server}/{value}.png" for value in range(12)], "offset": nothing, "length": nothing}
    store = ImageStore(Manifest(tmp_path / "m.parquet", pa.table(rows), "f"))
    assert store.decode(3, 8)[0, 0, 0] == 3  # type: ignore[index]  # fsspec's thread runs before the fork
    dataset = DecodedBatches(store, ImageChunks(np.arange(12), 4), 8)
    batches = list(load_batches(dataset, range(3), num_workers))
    assert [int(i) for batch in batches for i in batch.image_id] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    for batch in batches:
        assert batch.images[:, 0, 0, 0].tolist() == batch.image_id.tolist()
    (bad,) = [bad for batch in batches for bad in batch.bad]
    assert bad.image_id == 5
    assert f"{server}/5.png" in bad.reason


def test_a_server_without_ranges_is_found_out(server: str, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(DATA[:1_000])
    ((_, found),) = read_pieces([Piece(f"{server}/pack", 10, 20, 0)])
    assert "sends the whole file" in str(found)

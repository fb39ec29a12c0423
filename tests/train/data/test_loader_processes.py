"""Loader processes that die, hang or are slow. Covers train/data/pinned_ahead.py and train/data/shared_room.py, too."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from running_processes import is_alive, wait

from subspace.mining.errors import InputError, SubspaceWarning
from subspace.mining.machine import how_it_ended
from subspace.mining.manifest import Manifest
from subspace.train.data import loader_processes, shared_room
from subspace.train.data.batches import DecodedBatches, ImageBatch, ImageChunks, load_batches
from subspace.train.data.images import ImageStore
from subspace.train.data.loader_processes import ImagesStayedAway, Patience

SIZE, BATCH, COUNT = 9, 4, 24


def store_in(folder: Path) -> ImageStore:
    """96 images in files."""
    rows: dict[str, list[object]] = {"uri": [], "offset": [], "length": []}
    for number in range(BATCH * COUNT):
        Image.fromarray(np.full((SIZE, SIZE, 3), number, np.uint8)).save(buffer := io.BytesIO(), "PNG")
        (folder / f"{number}.png").write_bytes(buffer.getvalue())
        rows["uri"].append(f"{number}.png")
        rows["offset"].append(None)
        rows["length"].append(None)
    nothing = pa.nulls(BATCH * COUNT, pa.int64())
    table = pa.table({"uri": rows["uri"], "offset": nothing, "length": nothing})
    return ImageStore(Manifest(folder / "m.parquet", table, "f"))


@pytest.fixture
def dataset(tmp_path: Path) -> DecodedBatches:
    return DecodedBatches(store_in(tmp_path), ImageChunks(np.arange(BATCH * COUNT), BATCH), SIZE)


@pytest.fixture(params=[False, True], ids=["copied", "pinned"])
def pin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # which asks for CUDA
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return request.param


def workers() -> list[int]:
    return sorted(process.pid or 0 for process in multiprocessing.active_children())


def wait_until_idle(pid: int) -> None:
    """Wait until a process has made all batches that it may be ahead: it sleeps, and has no more processor time."""
    stat, before = Path(f"/proc/{pid}/stat"), None
    while stat.exists():  # Linux
        state, *fields = stat.read_text().rpartition(")")[2].split()
        now = fields[10:12]
        if state == "S" and now == before:
            return
        before = now
        time.sleep(0.2)
    time.sleep(1)


def seen(batches: list[ImageBatch]) -> list[int]:
    return [int(value) for batch in batches for value in batch.images[:, 0, 0, 0]]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_killed_process_ends_all_in_one_line(dataset: DecodedBatches, num_workers: int, pin: bool) -> None:
    batches = load_batches(dataset, range(COUNT), num_workers, pin=pin)
    next(batches)
    began = time.monotonic()
    os.kill(workers()[-1], signal.SIGKILL)
    with pytest.raises(
        ImagesStayedAway, match=r"was killed \(SIGKILL\), perhaps by the out-of-memory killer"
    ) as error:
        list(batches)
    assert time.monotonic() - began < 30
    assert "\n" not in str(error.value)
    assert "run the same command" in str(error.value)
    assert workers() == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_stopped_process_is_waited_for_as_long_as_said(
    dataset: DecodedBatches, num_workers: int, pin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_processes, "SAID_AFTER", 0.5)
    batches = load_batches(dataset, range(COUNT), num_workers, pin=pin, patience=Patience(1.0))
    next(batches)
    for pid in workers():
        wait_until_idle(pid)  # in the middle of a message it would be another case, the one below
        os.kill(pid, signal.SIGSTOP)
    with (
        pytest.warns(SubspaceWarning, match="waiting for the images of batch"),
        pytest.raises(ImagesStayedAway, match=r"no sign for 1 s .* data\.timeout"),
    ):
        list(batches)
    assert workers() == []


def test_a_process_that_is_stopped_inside_a_message_is_left(
    dataset: DecodedBatches, pin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by SIGSTOP, or where the memory of its container is frozen: the parent reads, and the rest never comes."""

    def half_a_message(self: loader_processes._Sender, number: int, slot: int) -> None:
        os.write(self._pipe.fileno(), struct.pack("!i", 1000) + b"half")
        os.kill(os.getpid(), signal.SIGSTOP)

    def no_handle(self: shared_room.SharedRoom, pipe: object) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    monkeypatch.setattr(loader_processes, "MESSAGE_WITHIN", 0.5)
    for owner, name, stops in (
        (loader_processes._Sender, "send", half_a_message),
        (shared_room.SharedRoom, "hand_over", no_handle),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stops)
            began = time.monotonic()
            with pytest.raises(ImagesStayedAway, match="in the middle of a message"):
                list(load_batches(dataset, range(COUNT), 1, pin=pin))
            assert time.monotonic() - began < 20
            assert workers() == []


def test_a_command_that_is_to_stop_does_not_wait(
    dataset: DecodedBatches, pin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_processes, "STOPS_WITHIN", 0.2)
    stopping: list[str] = []
    patience = Patience(stopping=lambda: bool(stopping))
    batches = load_batches(dataset, range(COUNT), 1, pin=pin, patience=patience)
    next(batches)
    os.kill(workers()[0], signal.SIGSTOP)
    stopping.append("SIGTERM")
    with pytest.raises(ImagesStayedAway, match="stopped while loader process"):
        list(batches)


def test_a_read_that_hangs_is_left(tmp_path: Path, dataset: DecodedBatches) -> None:
    """As of a network mount that is gone: here a pipe into which nobody writes."""
    (tmp_path / "9.png").unlink()
    os.mkfifo(tmp_path / "9.png")
    batches = load_batches(dataset, range(COUNT), 1, patience=Patience(1.0))
    assert seen([next(batches), next(batches)]) == list(range(8))
    with pytest.raises(ImagesStayedAway, match="while it reads batch 2"):
        next(batches)


def test_a_slow_disk_is_waited_for(dataset: DecodedBatches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_processes, "BEAT_EVERY", 0.05)
    monkeypatch.setattr(loader_processes, "LOOK_EVERY", 0.05)
    read_all = ImageStore._read_all

    def slowly(self: ImageStore, image_id: np.ndarray):
        for found in read_all(self, image_id):
            time.sleep(0.3)
            yield found

    monkeypatch.setattr(ImageStore, "_read_all", slowly)  # 1.2 s a batch
    assert seen(list(load_batches(dataset, range(2), 1, patience=Patience(0.9)))) == list(range(8))


def test_an_error_of_ours_comes_with_its_traceback(
    dataset: DecodedBatches, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(DecodedBatches, "_decode", broken)
    with pytest.raises(ZeroDivisionError, match="a bug") as error:
        list(load_batches(dataset, range(COUNT), 2))
    assert "in broken" in str(error.value.__cause__)
    assert capfd.readouterr().err == ""


def test_no_memory_is_one_line(dataset: DecodedBatches, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_room, "_nameless_file", full)
    with pytest.raises(
        InputError, match=r"no room for 972 bytes of images \(No space left on device\); set num_workers"
    ):
        list(load_batches(dataset, range(COUNT), 1))


def test_without_files_in_memory_a_temporary_one_serves(
    dataset: DecodedBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(shared_room.tempfile, "tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    assert seen(list(load_batches(dataset, range(COUNT), 2))) == list(range(BATCH * COUNT))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_processes_that_are_sent_the_dataset_do_the_same(
    dataset: DecodedBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, where they are not forked."""
    context = multiprocessing.get_context("spawn")
    monkeypatch.setattr(loader_processes.multiprocessing, "get_context", lambda: context)
    assert seen(list(load_batches(dataset, range(6), 1))) == list(range(24))


def test_batches_that_nobody_wants_end_the_processes(dataset: DecodedBatches, pin: bool) -> None:
    batches = load_batches(dataset, range(COUNT), 2, pin=pin)
    next(batches)
    pids = workers()
    assert len(pids) == 2
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not any(map(is_alive, pids))


def test_processes_end_with_their_parent(dataset: DecodedBatches) -> None:
    ours, theirs = multiprocessing.Pipe()
    if (parent := os.fork()) == 0:
        batches = load_batches(dataset, range(COUNT), 2)
        next(batches)
        theirs.send(workers())
        signal.pause()
    pids = ours.recv()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait(lambda: not any(map(is_alive, pids)))


def test_ends_in_words() -> None:
    words: Callable[[int | None], str] = lambda code: how_it_ended(code, [5], [5])  # noqa: E731
    assert "by the out-of-memory killer (SIGKILL); set num_workers or the batch size lower" in how_it_ended(
        -9, [0], [1]
    )
    assert "perhaps by the out-of-memory killer" in words(-9)
    assert "SIGBUS" in words(-7)
    assert words(-15) == "was killed (SIGTERM)"
    assert words(3) == "ended before its work (exit code 3)"


class SlowBatches(DecodedBatches):
    """Each takes 15 s, with a sign of life every 0.3 s."""

    def decode(
        self, index: int, memory_of: Callable[[tuple[int, ...]], torch.Tensor]
    ) -> ImageBatch | InputError:
        for _ in range(50):
            time.sleep(0.3)
            self.store.on_image()
        return super().decode(index, memory_of)


def test_a_command_that_is_to_stop_waits_for_no_slow_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Signs of life put off the end of patience, and not that of the wait after a signal."""
    monkeypatch.setattr(loader_processes, "STOPS_WITHIN", 1.0)
    monkeypatch.setattr(loader_processes, "BEAT_EVERY", 0.2)
    batches = SlowBatches(store_in(tmp_path), ImageChunks(np.arange(BATCH), BATCH), SIZE)
    began = time.monotonic()
    with pytest.raises(ImagesStayedAway, match="stopped while"):
        list(load_batches(batches, range(1), 1, patience=Patience(seconds=60, stopping=lambda: True)))
    assert time.monotonic() - began < 10


def test_handles_that_are_acknowledged_do_not_meet_what_asks_for_batches(
    dataset: DecodedBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS acknowledges them."""
    monkeypatch.setattr("multiprocessing.reduction.ACKNOWLEDGE", True)
    assert seen(list(load_batches(dataset, range(COUNT), 2))) == list(range(BATCH * COUNT))

"""Processes that decode batches ahead, each with a pipe of its own, watched so that none can be waited for in vain.

Batch i is the work of process i modulo their number, whatever their speed. Images lie in memory that both sides have open
(`shared_room`), the rest goes through the pipe. No two processes share a lock or a queue, which one that is killed would
leave locked: one that dies ends its pipe, and nothing else. torch's `DataLoader` shares both, takes memory in /dev/shm, and
waits without an end.
"""

from __future__ import annotations

import atexit
import math
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, NoReturn, cast, overload

import torch
from torch import Tensor

from ...mining.errors import InputError, StoppedEarly, SubspaceWarning
from ...mining.machine import ADVICE, how_it_ended, memory_kills
from .shared_room import SharedRoom

if TYPE_CHECKING:
    from .batches import DecodedBatches, ImageBatch

AHEAD = 4
"""Batches that a process makes before one is asked for."""
LOOK_EVERY = 0.5
"""Seconds between looks whether the processes are alive, while one is waited for."""
BEAT_EVERY = 5.0
"""Seconds between two messages of a process that it is at work, sent between images."""
SAID_AFTER = 30.0
"""Seconds without such a message until the user is told."""
STOPS_WITHIN = 10.0
"""Seconds that a batch is waited for once the command is asked to stop."""
ENDS_WITHIN = 5.0
"""Seconds that a killed process gets to be gone; one inside a read of a dead network mount may need more."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
AGAIN = "run the same command to continue"


class ImagesStayedAway(StoppedEarly):
    """A loader process died or fell silent; what was trained so far can be saved, and the same command continues."""


@dataclass(frozen=True)
class Patience:
    """How long a batch is waited for.

    Example:
        >>> Patience(seconds=60).stopping()
        False
    """

    seconds: float = 300.0
    """Without a sign of life of the process that makes it; one that reads slowly gives signs between images."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the command is asked to stop."""


PATIENCE = Patience()


class LoaderProcesses:
    """`count` processes at work on the batches `numbers` of a dataset; `close` them.

    Raises:
        InputError: reading met what is the user's.
        ImagesStayedAway: a process died, or was silent for too long.
    """

    def __init__(
        self, dataset: DecodedBatches, numbers: Sequence[int], count: int, patience: Patience
    ) -> None:
        self._numbers, self._patience = numbers, patience
        self._kills = memory_kills()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._tokens: list[Connection] = []
        """A byte through each asks for a batch more; apart from the pipe, on which macOS acknowledges what it hands over."""
        self._asked_to_stop: float | None = None
        self._rooms: list[dict[int, SharedRoom]] = [{} for _ in range(count)]
        atexit.register(self.close)  # before multiprocessing waits for its processes, stopped ones too
        for first in range(count):
            self._start(dataset, numbers[first::count])

    def _start(self, dataset: DecodedBatches, numbers: Sequence[int]) -> None:
        context = multiprocessing.get_context()
        ours, theirs = context.Pipe()
        wanted, ask = context.Pipe(duplex=False)
        process = context.Process(target=_decode, args=(dataset, numbers, theirs, wanted), daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until it has handlers of its own
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            wanted.close()
        self._processes.append(process)
        self._tokens.append(ask)  # pyright: ignore[reportArgumentType]  # of any system
        self._pipes.append(ours)  # pyright: ignore[reportArgumentType]  # of any system

    def batches(self, copy: Callable[[Tensor], Tensor]) -> Iterator[ImageBatch]:
        """Yield all in order, each with images that are a `copy` of those in shared memory."""
        count = len(self._processes)
        for turn in range(len(self._numbers)):
            process = turn % count
            batch = self._next_of(process, self._numbers[turn], copy)
            if turn + AHEAD * count < len(self._numbers):
                self._ask_for_one_more(process)
            yield batch

    def close(self) -> None:
        """End all processes, whatever they do; again does nothing."""
        atexit.unregister(self.close)
        for process in self._processes:
            process.kill()  # a signal that a stopped one obeys too; they only read
        for pipe in (*self._pipes, *self._tokens):
            pipe.close()
        ends = time.monotonic() + ENDS_WITHIN
        for process in self._processes:
            process.join(max(0.0, ends - time.monotonic()))

    def _next_of(self, process: int, number: int, copy: Callable[[Tensor], Tensor]) -> ImageBatch:
        while True:
            self._wait_for(process, number)
            try:
                kind, *content = self._pipes[process].recv()
                if kind == "room":
                    slot, size = content
                    room = SharedRoom(reduction.recv_handle(self._pipes[process]), size)
                    room.forget_handle()
                    self._rooms[process][slot] = room
            except (EOFError, OSError, RuntimeError):  # it was killed, perhaps in the middle of a message
                self._processes[process].join(ENDS_WITHIN)
                self._refuse_dead(process)
            if kind == "batch":
                self._asked_to_stop = None
                slot, shape, batch = content
                images = torch.empty(shape, dtype=torch.uint8)
                if math.prod(shape):
                    images = self._rooms[process][slot].bytes[: math.prod(shape)].view(shape)
                return replace(batch, images=copy(images.permute(0, 3, 1, 2)))
            if kind == "error":
                error, trace = content
                raise error from (None if isinstance(error, InputError) else _ElsewhereError(trace))

    def _ask_for_one_more(self, process: int) -> None:
        try:
            self._tokens[process].send_bytes(b"1")
        except OSError:
            return  # it is dead, which is found when its next batch is asked for

    def _wait_for(self, process: int, number: int) -> None:
        """Return once the process has sent something, or ended its pipe."""
        began = time.monotonic()
        said = False
        while True:
            self._refuse_dead()
            self._refuse_to_wait(process, number)
            if self._pipes[process].poll(LOOK_EVERY):
                return
            now = time.monotonic()
            silent = now - began
            pid, patience = self._processes[process].pid, self._patience.seconds
            if silent >= patience:
                raise ImagesStayedAway(
                    f"loader process {pid} has given no sign for {silent:.0f} s while it reads batch {number}: is a disk or "
                    f"network mount gone? data.timeout says how long to wait; {AGAIN}"
                )
            if silent >= SAID_AFTER and not said:
                said = True
                warnings.warn(
                    f"waiting for the images of batch {number} since {silent:.0f} s: loader process {pid} hangs in a read; "
                    f"it is waited for {patience:.0f} s (data.timeout)",
                    SubspaceWarning,
                    stacklevel=2,
                )

    def _refuse_to_wait(self, process: int, number: int) -> None:
        """Raise where the command was asked to stop long enough ago, whatever signs of life there are."""
        if not self._patience.stopping():
            return
        now = time.monotonic()
        self._asked_to_stop = self._asked_to_stop or now
        if now - self._asked_to_stop >= STOPS_WITHIN:
            raise ImagesStayedAway(
                f"stopped while loader process {self._processes[process].pid} is not through with the images of batch "
                f"{number}; {AGAIN}"
            )

    @overload
    def _refuse_dead(self) -> None: ...
    @overload
    def _refuse_dead(self, ended: int) -> NoReturn: ...
    def _refuse_dead(self, ended: int | None = None) -> None:
        """Raise where a process died, or `ended` its pipe too early."""
        for index, process in enumerate(self._processes):
            code = process.exitcode
            if code or index == ended:
                raise ImagesStayedAway(
                    f"loader process {process.pid}, {index + 1} of {len(self._processes)}, "
                    f"{how_it_ended(code, self._kills, memory_kills())}; {AGAIN}"
                )


class _ElsewhereError(Exception):
    """The traceback of a loader process, shown as the cause of its error."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _decode(dataset: DecodedBatches, numbers: Sequence[int], pipe: Connection, wanted: Connection) -> None:
    """What a process does: decode batches, `AHEAD` of them before one is asked for, and end with its parent."""
    # torchrun and terminals signal a process group: one that needs a batch to save itself would find its reader dead.
    os.setpgrp()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    torch.set_num_threads(1)
    parent, above = multiprocessing.parent_process(), os.getppid()
    try:
        sender = _Sender(dataset, pipe)
        for turn, number in enumerate(numbers):
            if turn >= AHEAD:
                while not wanted.poll(1.0):
                    # A fork server is the system's parent; forks hold one another's ends of what `is_alive` reads.
                    if os.getppid() != above or not (parent and parent.is_alive()):
                        return
                wanted.recv_bytes()
            sender.send(number, turn % AHEAD)
    except (EOFError, ConnectionError):  # the parent is gone, or wants no more
        return


class _Sender:
    def __init__(self, dataset: DecodedBatches, pipe: Connection) -> None:
        self._dataset, self._pipe = dataset, pipe
        self._rooms: dict[int, SharedRoom] = {}
        self._beat_at = time.monotonic()
        dataset.store.on_image = self._beat

    def send(self, number: int, slot: int) -> None:
        try:
            batch = self._dataset.decode(number, lambda shape: self._room(shape, slot))
        except Exception as error:
            self._pipe.send(("error", _sendable(error), traceback.format_exc()))
            return
        if isinstance(batch, InputError):
            self._pipe.send(("error", batch, ""))
            return
        shape = tuple(batch.images.permute(0, 2, 3, 1).shape)
        self._pipe.send(("batch", slot, shape, replace(batch, images=cast("Tensor", None))))

    def _room(self, shape: tuple[int, ...], slot: int) -> Tensor:
        """Memory for a batch, which its slot has kept from the one before if that was as large: new memory takes as long as
        decoding."""
        needed = math.prod(shape)
        if needed == 0:
            return torch.empty(shape, dtype=torch.uint8)
        if slot not in self._rooms or self._rooms[slot].size < needed:
            try:
                room = SharedRoom.new(needed)
            except OSError as error:
                raise InputError(
                    f"a loader process finds no room for {needed:,} bytes of images ({error.strerror}); {ADVICE}"
                ) from error
            self._pipe.send(("room", slot, needed))
            reduction.send_handle(self._pipe, room.handle, os.getppid())
            room.forget_handle()
            self._rooms[slot] = room
        return self._rooms[slot].bytes[:needed].view(shape)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= BEAT_EVERY:
            self._beat_at = now
            self._pipe.send(("at work",))


def _sendable(error: Exception) -> Exception:
    """The error, or its words where it cannot be sent."""
    try:
        reduction.ForkingPickler.dumps(error)
        type(error)(*error.args)
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

"""Memory that two processes share, handed over as a file without a name: no room in /dev/shm is asked for.

/dev/shm is a file system of a fixed size, 64 MB in a container of Docker, and a process that writes into a page of it for
which there is no room dies by SIGBUS. Linux has files in memory that belong to no file system; elsewhere it is a file in the
folder for temporary files, removed before it is used. Both are gone with the last process that has them.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from multiprocessing import reduction
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from ...mining.errors import InputError
from ...mining.machine import ADVICE


class SharedRoom:
    """So many bytes in memory, made here or by the process that sent `handle`.

    >>> room = SharedRoom.new(8)
    >>> room.bytes.fill_(7).sum()
    tensor(56)
    >>> other = SharedRoom(room.handle, 8)  # as another process would open it
    >>> int(other.bytes.sum())
    56
    """

    def __init__(self, handle: int, size: int) -> None:
        self.handle, self.size = handle, size
        self.bytes: Tensor = torch.frombuffer(mmap.mmap(handle, size), dtype=torch.uint8)

    @classmethod
    def new(cls, size: int) -> SharedRoom:
        """Room for `size` bytes, at least one.

        Raises:
            OSError: there is none.
        """
        handle = _nameless_file()
        try:
            os.ftruncate(handle, size)
            if not hasattr(os, "memfd_create") and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)  # a full disk says so now, and kills nobody later
            return cls(handle, size)
        except OSError:
            os.close(handle)
            raise

    def hand_over(self, pipe: Connection) -> None:
        """Send the file to the parent process, which takes it by `received`; the memory stays."""
        reduction.send_handle(pipe, self.handle, os.getppid())
        self.forget_handle()

    @classmethod
    def received(cls, pipe: Connection, size: int) -> SharedRoom:
        """Open what a child process hands over next."""
        room = cls(reduction.recv_handle(pipe), size)
        room.forget_handle()
        return room

    def forget_handle(self) -> None:
        """Close the file, once it is sent or open elsewhere; the memory stays."""
        os.close(self.handle)


class SentRooms:
    """Rooms of a child process by slot, each handed to the parent behind a message ("room", slot, size) when it is made."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._rooms: dict[int, SharedRoom] = {}

    def memory(self, shape: tuple[int, ...], slot: int) -> Tensor:
        """Bytes for a batch, which its slot has kept from the one before if that was as large: new memory takes as long as
        decoding.

        Raises:
            InputError: there is none.
        """
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
            room.hand_over(self._pipe)
            self._rooms[slot] = room
        return self._rooms[slot].bytes[:needed].view(shape)


def _nameless_file() -> int:
    """A file descriptor that only this process and those it is sent to have."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("subspace-images")
    handle, path = tempfile.mkstemp(prefix="subspace-images-")
    os.unlink(path)
    return handle

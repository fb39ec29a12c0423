"""Memory that two processes share, handed over as a file without a name: no room in /dev/shm is asked for.

/dev/shm is a file system of a fixed size, 64 MB in a container of Docker, and a process that writes into a page of it for
which there is no room dies by SIGBUS. Linux has files in memory that belong to no file system; elsewhere it is a file in the
folder for temporary files, removed before it is used. Both are gone with the last process that has them.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import torch
from torch import Tensor


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

    def forget_handle(self) -> None:
        """Close the file, once it is sent or open elsewhere; the memory stays."""
        os.close(self.handle)


def _nameless_file() -> int:
    """A file descriptor that only this process and those it is sent to have."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("subspace-images")
    handle, path = tempfile.mkstemp(prefix="subspace-images-")
    os.unlink(path)
    return handle

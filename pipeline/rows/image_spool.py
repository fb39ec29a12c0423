"""Images on their way from one file to another, in any order, without being held in memory."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.artifacts import unwritable
from .content_hash import flat_bytes


class ImageSpool:
    """Images end to end in a scratch file, read back as one Arrow array that the system pages in and out.

    Writing in sorted order needs any image at any time, while a Parquet file gives them in its own order only;
    this turns one into the other for 8 bytes of memory an image, and the images' size on disk. The file has no
    name, so its space is free again even after a SIGKILL.
    """

    def __init__(self, beside: Path) -> None:
        """Open in the folder of `beside`, which shows before any long work whether that folder can be written.

        Raises:
            InputError: it cannot.
        """
        self._beside = beside
        self._lengths = [np.zeros(1, np.int64)]
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=beside.parent, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise unwritable(beside, error) from error

    def __enter__(self) -> ImageSpool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, images: pa.Array) -> None:
        """Append binary values; a null is an image without bytes. A full disk is an InputError."""
        lengths, data = flat_bytes(images)
        self._lengths.append(lengths)
        try:
            while data:  # an unbuffered write may take a part, and takes at most 2 GiB
                data = data[self._file.write(data) :]
        except OSError as error:
            raise unwritable(self._beside, error) from error

    def images(self) -> pa.LargeBinaryArray:
        """All images so far, in the order they were added."""
        ends = np.concatenate(self._lengths).cumsum()
        data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if ends[-1] else b""
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends) - 1, buffers)

"""Images out of tables, end to end in a file, so that any of them is read without its table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.artifacts import unwritable
from ..rows.content_hash import ContentHash
from ..rows.image_spool import ImageSpool


class KeptImages(ImageSpool):
    """A spool whose file gets a name when all images are in it; without any it leaves no file.

    Example:
        >>> import tempfile
        >>> import pyarrow as pa
        >>> with KeptImages(Path(tempfile.mkdtemp(), "images.bin")) as kept:
        ...     kept.add(pa.array([b"one", None, b"three"]))
        ...     kept.keep()
        >>> kept.lengths().tolist(), kept.path.read_bytes()
        ([3, 0, 5], b'onethree')
    """

    def __init__(self, path: Path) -> None:
        self.path, self._beside = path, path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._lengths = [np.zeros(1, np.int64)]
        self._content = ContentHash()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._aside, "w+b", buffering=0)  # noqa: SIM115  (closed with the spool)
        except OSError as error:
            raise unwritable(path, error) from error

    def __enter__(self) -> KeptImages:
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._aside.unlink(missing_ok=True)

    def begin_again(self) -> None:
        """Forget all images so far."""
        self._file.seek(0)
        self._file.truncate()
        self._lengths = [np.zeros(1, np.int64)]
        self._content = ContentHash()

    def add(self, images: pa.Array) -> None:
        super().add(images)
        self._content.update(pa.record_batch({"image": images}))

    def lengths(self) -> np.ndarray:
        """Bytes of each image so far, int64[n]."""
        return np.concatenate(self._lengths)[1:]

    @property
    def fingerprint(self) -> str:
        """A hash of all images so far, wherever the file lies."""
        return self._content.hexdigest()

    def keep(self) -> None:
        """Give the file its name, if there are images.

        Raises:
            InputError: the disk is full.
        """
        if len(self.lengths()):
            try:
                os.fsync(self._file.fileno())
                os.replace(self._aside, self.path)
            except OSError as error:
                raise unwritable(self.path, error) from error

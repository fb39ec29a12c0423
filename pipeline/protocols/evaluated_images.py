"""The images that a protocol is about: whom they show, as a manifest, and their embeddings when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...mining.manifest import Manifest
from ..configuration.config import RunConfig
from ..options import Options


class Embedded(NamedTuple):
    """Embeddings of images in the order in which they were asked for.

    >>> Embedded(np.eye(2, dtype=np.float32), np.array([True, True])).rows.shape
    (2, 2)
    """

    rows: np.ndarray
    """float32[n, D], unit length; zeros where an image could not be read."""
    readable: np.ndarray
    """bool[n]."""


class EvaluatedImages(ABC):
    """Images with embeddings, from a file of them or by a network."""

    path: Path
    """What was named on the command line, or what was chosen for it."""
    config: RunConfig
    options: Options
    dimensions: int
    opens: bool
    """Whether images are opened, and so must be where a list says."""

    @cached_property
    @abstractmethod
    def manifest(self) -> Manifest:
        """The images by `image_id`, sorted by identity.

        Raises:
            InputError: it is not known whom they show.
        """

    @abstractmethod
    def embeddings(self, image_id: np.ndarray) -> Embedded:
        """Embed these images, int64[n].

        Raises:
            InputError: an embedding that has no direction, or an image that the settings say must be read.
        """

    @abstractmethod
    def listed(self, manifest: Manifest, names: list[str]) -> Embedded:
        """Embeddings of the images of a list that a protocol brings, a row for each of its rows.

        Args:
            manifest: where they lie. names: as the list calls them, for a file of embeddings, which may have the paths instead.

        Raises:
            InputError: one of them has no embedding in the file.
        """

    @abstractmethod
    def announce(self, images: np.ndarray | Manifest) -> tuple[str, float, int]:
        """What it takes to have embeddings of these: in words, seconds, and bytes beside what is in memory."""

    @cached_property
    def device(self) -> str:
        """Where embeddings are compared: `--device`, else a GPU where there is one."""
        from ...train.devices import pick_device

        picked = pick_device(self.options.device)
        return str(picked) if picked.type == "cuda" else "cpu"

    @property
    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """What was evaluated, for metrics.json."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where results lie by default: beside the checkpoint, or beside the file of embeddings."""

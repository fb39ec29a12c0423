"""Images that a checkpoint embeds: those of a manifest, or those that a list brings."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...mining.manifest import Manifest
from ...train.checkpoint import load_network
from ...train.data.images import ImageStore
from ...train.devices import pick_device
from ...train.networks.registry import CHECKPOINT_PREFIX
from ...train.speed import embedding_work
from ..configuration.config import RunConfig
from ..console import counted
from ..exporting.chosen_checkpoint import ChosenCheckpoint
from ..exporting.trained_on import open_tested
from ..options import Options
from ..stages.examination import embeddings_of
from .evaluated_images import Embedded, EvaluatedImages


class NetworkImages(EvaluatedImages):
    """Images that are opened and embedded when they are asked for.

    Args:
        given: the manifest of `--manifest`; None: the run's own.
        allow_code: that of `load_network`.
    """

    opens = True

    def __init__(
        self,
        chosen: ChosenCheckpoint,
        config: RunConfig,
        options: Options,
        *,
        given: Path | None,
        allow_code: bool,
    ) -> None:
        self.path, self.config, self.options = chosen.folder, config, options
        self.chosen, self.given = chosen, given
        self.network = load_network(f"{CHECKPOINT_PREFIX}{chosen.folder}", allow_code=allow_code)
        self.dimensions = self.network.embedding_size

    @cached_property
    def manifest(self) -> Manifest:
        """That of the run, or of `--manifest`.

        Raises:
            StaleArtifactError: that of the run has changed since the network was trained.
        """
        return open_tested(self.chosen, self.config, self.given)

    def embeddings(self, image_id: np.ndarray) -> Embedded:
        """Embed images of the manifest."""
        return self._embedded(self.manifest, image_id)

    def listed(self, manifest: Manifest, names: list[str]) -> Embedded:
        """Embed the images of a list."""
        return self._embedded(manifest, np.arange(len(names)))

    def _embedded(self, manifest: Manifest, image_id: np.ndarray) -> Embedded:
        flip = self.config.eval.flip
        return Embedded(
            *embeddings_of(image_id, self.network, self.config, manifest, self.options, flip=flip)
        )

    def announce(self, images: np.ndarray | Manifest) -> tuple[str, float, int]:
        """As `EvaluatedImages` has it; a few of them are embedded for it."""
        manifest = images if isinstance(images, Manifest) else self.manifest
        wanted = np.arange(len(images)) if isinstance(images, Manifest) else np.unique(images)
        extract = self.config.extract
        work = embedding_work(
            self.network,
            ImageStore(manifest, self.config.data.decoder),
            wanted,
            len(wanted),
            pick_device(self.options.device),
            extract.precision,
            batch_size=extract.batch_size,
            num_workers=extract.num_workers,
            flip=self.config.eval.flip,
        )
        memory = int(len(images) * (self.dimensions * 4 + 20) + work.memory)
        return f"{counted(len(wanted), 'image')} embedded{work.slow_decoding}", work.seconds, memory

    @property
    def origin(self) -> dict[str, Any]:
        """The checkpoint, and how it embeds."""
        flip = self.config.eval.flip
        return {"checkpoint": str(self.path), "dimensions": self.dimensions, "flip": flip}

    @property
    def folder(self) -> Path:
        """Where the checkpoint lies."""
        return self.path.parent

"""The embeddings of all training images by the network of a round: those that its extraction kept, or made for this.

They are made as `subspace extract` makes them, in parts that resume, in a folder of their own: RUN/round-000/cleaning.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ...mining.errors import StaleArtifactError
from ...mining.local_paths import in_shell
from .. import stage_folder as files
from ..faults.sealed_files import Sealed
from ..stage_folder import StageFolder
from ..stages.context import Context
from ..stages.graph import finished, row
from ..stages.stage import Stage, flat_fields, run_stage


def network_fields(context: Context) -> dict[str, Any]:
    """What the embeddings depend on.

    Raises:
        InputError: the round's network is not there yet.
    """
    config, before = context.config, context.round_index - 1
    return {
        "manifest": context.manifest.fingerprint,
        "network": finished(context, "pretrain" if before < 0 else "train", before),
        "data.train_splits": list(config.data.train_splits),
        "data.on_bad_image": config.data.on_bad_image,
        **flat_fields(
            "extract",
            config.extract.model_dump(),
            without=("num_workers", "max_images", "keep_embeddings", "identities_per_part"),
        ),
    }


def kept_embeddings(context: Context) -> Path | None:
    """The embeddings that the round's extraction kept, where they are of all training images; else None."""
    extract, path = context.config.extract, context.folder.file(files.EMBEDDINGS)
    running = context.round_index > 0 and context.config.recluster.refresh == "running"
    if running or not extract.keep_embeddings or extract.max_images is not None or not path.exists():
        return None
    if context.left_out.fields:
        return None
    try:
        return path if row("extract").stage(context).is_done() else None
    except StaleArtifactError:
        return None


class TrainingEmbeddings:
    """The embeddings of all training images, made where they are not there."""

    def __init__(self, context: Context) -> None:
        self._context, self._kept = context, kept_embeddings(context)
        self.folder = StageFolder(context.folder.file(files.CLEANING), context.round_index)
        """Where they are made."""
        command = f"subspace clean {in_shell(context.run.path)} --round {context.round_index}"
        self._stage = Stage(
            "embed",
            self.folder,
            network_fields(context),
            (files.IDENTITIES, files.QUARANTINE, files.IDENTITY_PARTS, files.EMBEDDINGS),
            command,
            command,
        )

    @property
    def path(self) -> Path:
        """The table, once it is there."""
        return self._kept or self.folder.file(files.EMBEDDINGS)

    @property
    def sealed(self) -> Sealed:
        """Whose files they are."""
        if self._kept:
            return Sealed(
                self._context.folder,
                "extract",
                row("extract").command_in(self._context.run, self._context.round_index),
                files.EMBEDDINGS,
            )
        return Sealed(self.folder, "embed", self._stage.command, files.EMBEDDINGS)

    def make(self) -> bool:
        """Embed the images unless that is done; False in a dry run that would."""
        context = self._context
        if self._kept:
            context.say(f"{self._label}: the embeddings that extract kept, {self._kept}")
            return True
        everything = {"max_images": None, "keep_embeddings": True}
        config = context.config.model_copy(
            update={
                "extract": context.config.extract.model_copy(update=everything),
                "data": context.config.data.model_copy(update={"cleaned": None}),
            }
        )
        # Embeddings of another network are of no use to anybody.
        options = replace(context.options, processes=1, remake_stale=True, force=False)
        at = replace(context, config=config, options=options)

        @cache
        def extraction():
            from ..stages.extraction import Extraction

            return Extraction(at, self._stage)

        run_stage(self._stage, options, lambda: extraction().estimate(), lambda: extraction().work(None))
        if self._stage.marker.exists():
            from ...mining.artifacts import remove

            remove(self.folder.identity_parts)
        return self._stage.marker.exists() and self._stage.is_done()

    @property
    def _label(self) -> str:
        return f"{self._context.folder.name}/clean"

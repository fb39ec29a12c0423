"""Manifests embedded on their way into an index, by parts that resume, as `subspace embed` does it.

Their embeddings lie beside the index until it is whole: INDEX.embedded.parquet, and INDEX.embedded.parquet.parts while they
are made.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.artifacts import remove
from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import StaleArtifactError
from ...mining.parquet_tables import fingerprint_in, open_parquet
from ...mining.schemas import MANIFEST
from ..embedding.request import EmbedRequest
from ..options import Options
from .index_cost import IndexSize

if TYPE_CHECKING:
    from ..embedding.opened_network import OpenedNetwork

FEW = 256
"""Images that are decoded in this process: starting others takes longer."""


class EmbeddedManifests:
    """The files of embeddings that an index is made of, those of manifests made for it.

    Args:
        target: the index.
        asked, opened: the network and how it embeds; None where no source is a manifest.
    """

    def __init__(
        self, target: Path, asked: EmbedRequest | None, opened: OpenedNetwork | None, options: Options
    ) -> None:
        self._target, self._asked, self._opened = target, asked, opened
        # --force is about the index: what is embedded for it goes on all the same.
        self._options = replace(options, force=False)
        self._made: list[Path] = []

    def table(self, source: Path) -> EmbeddingTable:
        """The embeddings of a source.

        Raises:
            InputError: damaged, or no image can be read.
            StoppedEarly: stopped, or too many images cannot be read; what is finished is kept.
        """
        if not is_manifest(source):
            return EmbeddingTable.open(source)
        request = self._embedding(source)
        try:
            self._embed(request, self._options)
        except StaleArtifactError as error:
            # Of another command that was stopped: nobody asked for the embeddings themselves.
            self._options.console.say(f"made anew: {str(error).split(';')[0]}")
            remove(request.out)
            self._embed(request, replace(self._options, force=True))
        return EmbeddingTable.open(request.out)

    def size(self, source: Path) -> IndexSize:
        """How much a source brings; what embedding it takes is said on the way."""
        if not is_manifest(source):
            return IndexSize.of_table(EmbeddingTable.open(source))
        from ...mining.manifest import Manifest

        assert self._opened is not None
        request = self._embedding(source)
        try:
            self._embed(request, self._options)
        except StaleArtifactError:
            self._embed(request, replace(self._options, force=True))
        return IndexSize.of_manifest(Manifest.open(source), self._opened.network.embedding_size)

    def remove(self) -> None:
        """Remove what was made, when the index holds it or refuses it."""
        for path in self._made:
            remove(path)

    def _embedding(self, source: Path) -> EmbedRequest:
        assert self._asked is not None
        more = f"-{len(self._made) + 1}" if self._made else ""
        out = self._target.with_name(f"{self._target.name}.embedded{more}.parquet")
        self._made.append(out)
        workers = 0 if open_parquet(source).metadata.num_rows <= FEW else None
        return replace(self._asked, sources=(source,), out=out, num_workers=workers)

    def _embed(self, request: EmbedRequest, options: Options) -> None:
        from ..embedding.command import run_embedding

        run_embedding(request, options, opened=self._opened)


def is_manifest(source: Path) -> bool:
    """Whether a file lists images, rather than embeddings.

    Raises:
        InputError: it is missing or damaged.
        StaleArtifactError: a manifest that another program has written: it would be read as any table, `keep` aside.
    """
    if source.suffix == ".npy" or MANIFEST.problem_with(open_parquet(source).schema_arrow) is not None:
        return False
    fingerprint_in(source, MANIFEST)
    return True

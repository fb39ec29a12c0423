"""What `subspace index` is asked for: an index made, or one changed; manifests are embedded on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import InputError, StaleArtifactError
from ...mining.index.kinds import choose_kind
from ...mining.local_paths import in_shell, refuse_url
from ..console import Console
from ..run_directory import RunDirectory
from .build_index import change_index, make_index
from .index_record import RECORD, read_record
from .write_index import EMBEDDED, IndexSettings, check_target, sweep

if TYPE_CHECKING:
    from ..embedding.opened_network import OpenedNetwork


@dataclass(frozen=True)
class IndexRequest:
    """What is to be made or changed.

    Raises:
        InputError: options that do not go together.
    """

    source: Path
    out: Path | None = None
    append: tuple[Path, ...] = ()
    delete: tuple[str, ...] = ()
    network: str | None = None
    kind: str = "auto"
    images: bool = False
    dtype: str = "float32"
    seed: int = 0
    force: bool = False
    device: str | None = None
    allow_code: bool = False

    def __post_init__(self) -> None:
        choose_kind(1, self.kind)
        if self.dtype not in ("float32", "float16"):
            raise InputError(f"--dtype {self.dtype}: give float32 or float16")
        if self.out is not None:
            refuse_url(self.out)
            if self.changes:
                raise InputError(
                    f"--append and --delete change {self.source} itself; leave out --out {self.out}"
                )
        elif not self.changes:
            if (self.source / RECORD).exists():
                raise InputError(
                    f"{self.source} is an index; give --append MORE, --delete IDENTITY, or search it"
                )
            raise InputError(f"where to? `subspace index {in_shell(self.source)} --out FOLDER`")

    @property
    def changes(self) -> bool:
        """Whether an index is changed rather than made."""
        return bool(self.append or self.delete)


def index_rows(request: IndexRequest, console: Console) -> dict[str, Any]:
    """Do what is asked; return what `--json` prints.

    Raises:
        InputError: a file that is missing, damaged or of another kind.
        StaleArtifactError: embeddings and index are of different networks.
    """
    if request.changes:
        read_record(request.source)  # a folder that is no index gets no lock
        alone = RunDirectory(request.source).locked("index")
    else:
        assert request.out is not None
        check_target(request.out, request.force)
        alone = RunDirectory(request.out).locked_to_make("index")
    with alone:
        return _index_rows(request, console)


def _index_rows(request: IndexRequest, console: Console) -> dict[str, Any]:
    opened = record = None
    if request.changes:
        target, record = request.source, read_record(request.source)
        network = request.network or record.checkpoint
        sources: Sequence[Path] = request.append
    else:
        assert request.out is not None
        target, network, sources = request.out, request.network, (request.source,)
        check_target(target, request.force)  # again: another command may just have made one
    sweep(target)
    if request.network is not None or any(_is_manifest(source) for source in sources):
        opened = _opened(network, sources, request.allow_code)
        if record is not None and record.network is not None and opened.fingerprint != record.network:
            raise StaleArtifactError(
                f"{opened.words} is network {opened.fingerprint}, {target} was embedded by {record.network}; give that --network"
            )
    with tempfile.TemporaryDirectory(dir=target, prefix=f".{EMBEDDED}.") as aside:
        tables = [
            _table(
                source,
                opened,
                Path(aside, f"{number}.parquet"),
                request.device,
                console,
                flip=record is not None and record.flip,
            )
            for number, source in enumerate(sources)
        ]
        if request.changes:
            return change_index(target, tables, request.delete, console)
        settings = IndexSettings(
            tables[0].dimensions,
            "float16" if request.dtype == "float16" else "float32",
            opened.fingerprint if opened else None,
            _kept(network) if opened else None,
            kind=request.kind,
            over_images=request.images,
            seed=request.seed,
        )
        return make_index(tables, target, settings, console)


def _kept(network: str | None) -> str | None:
    """The network as a later search finds it, from wherever that is started."""
    return str(Path(network).absolute()) if network and Path(network).exists() else network


def _table(
    source: Path,
    opened: OpenedNetwork | None,
    out: Path,
    device: str | None,
    console: Console,
    *,
    flip: bool,
) -> EmbeddingTable:
    if not _is_manifest(source):
        return EmbeddingTable.open(source)
    from ...mining.manifest import Manifest
    from .embedded_images import embed_manifest

    assert opened is not None
    return embed_manifest(Manifest.open(source), opened, out, device, console, flip=flip)


def _is_manifest(source: Path) -> bool:
    from ...mining.parquet_tables import open_parquet
    from ...mining.schemas import MANIFEST

    if source.suffix == ".npy":
        return False
    return MANIFEST.problem_with(open_parquet(source).schema_arrow) is None


def _opened(network: str | None, sources: Sequence[Path], allow_code: bool) -> OpenedNetwork:
    from ..embedding.opened_network import choose_network, open_network

    if network is None:
        manifest = next(source for source in sources if _is_manifest(source))
        raise InputError(f"{manifest} lists images: say which network embeds them, --network CHECKPOINT")
    return open_network(choose_network(network), allow_code=allow_code)

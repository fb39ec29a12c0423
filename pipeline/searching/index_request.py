"""What `subspace index` is asked for: an index made, or one changed; manifests are embedded on the way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...mining.errors import InputError, StaleArtifactError
from ...mining.index.kinds import choose_kind
from ...mining.local_paths import in_shell, refuse_url
from ..embedding.request import EmbedRequest
from ..options import Options
from ..run_directory import RunDirectory
from .build_index import change_index, make_index
from .embedded_manifests import EmbeddedManifests, is_manifest
from .index_cost import OF_NAME, IndexSize, cost_of_index
from .index_folder import open_folder
from .index_record import RECORD, IndexRecord, read_record
from .network_of_index import NetworkOptions, network_request
from .row_sources import named_identities
from .write_index import IndexSettings, check_target, sweep

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
    allow_code: bool = False
    weights: str | None = None
    preprocess: tuple[str, ...] = ()
    """KEY=VALUE, over what the network says of its images."""
    max_bad_fraction: float = 0.01

    def __post_init__(self) -> None:
        choose_kind(1, self.kind)
        if self.dtype not in ("float32", "float16"):
            raise InputError(f"--dtype {self.dtype}: give float32 or float16")
        if (self.weights or self.preprocess) and self.network is None:
            option = "--weights" if self.weights else "--preprocess"
            raise InputError(f"{option} says how --network is opened; give that, too")
        made_with = {
            "--kind": self.kind != "auto",
            "--images": self.images,
            "--dtype": self.dtype != "float32",
        }
        made_with["--seed"] = self.seed != 0
        if self.changes and any(made_with.values()):
            raise InputError(
                f"{' and '.join(option for option, given in made_with.items() if given)} counts when an index is made; "
                f"{self.source} stays as it was made, so leave it out, or make another with --out"
            )
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


def index_rows(request: IndexRequest, options: Options) -> dict[str, Any]:
    """Do what is asked; return what `--json` prints.

    Raises:
        InputError: a file that is missing, damaged or of another kind.
        StaleArtifactError: embeddings and index are of different networks.
        StoppedEarly: stopped while manifests are embedded; the same command continues.
    """
    if request.changes:
        read_record(request.source)  # a folder that is no index gets no lock
        alone = RunDirectory(request.source).locked("index")
    else:
        assert request.out is not None
        check_target(request.out, options.force)
        alone = RunDirectory(request.out).locked_to_make("index")
    with nullcontext() if options.dry_run else alone:
        return _index_rows(request, options)


def _index_rows(request: IndexRequest, options: Options) -> dict[str, Any]:
    if request.changes:
        target, record = request.source, read_record(request.source)
        sources: Sequence[Path] = request.append
    else:
        assert request.out is not None
        target, sources, record = request.out, (request.source,), None
        check_target(target, options.force)  # again: another command may just have made one
    if not options.dry_run:
        sweep(target)
    if request.append and request.delete:  # before anything is embedded
        named_identities(open_folder(target), request.delete)
    asked = _asked(request, record, sources)
    opened = _opened(asked, request, record, options) if asked else None
    manifests = EmbeddedManifests(target, asked, opened, options)
    if options.dry_run:
        return _planned(manifests, request, record, sources, options)
    try:
        tables = [manifests.table(source) for source in sources]
        if request.changes:
            done = change_index(target, tables, request.delete, options.console, called=sources)
        else:
            settings = _settings(request, opened, tables[0].dimensions)
            done = make_index(tables, target, settings, options.console)
    except InputError as error:
        if not isinstance(
            error.__cause__, OSError
        ):  # a full disk refuses nothing: what is embedded serves on
            manifests.remove()
        raise
    manifests.remove()
    return done


def _settings(request: IndexRequest, opened: OpenedNetwork | None, dimensions: int) -> IndexSettings:
    return IndexSettings(
        dimensions,
        "float16" if request.dtype == "float16" else "float32",
        opened.fingerprint if opened else None,
        opened.spec if opened else None,
        kind=request.kind,
        over_images=request.images,
        seed=request.seed,
        weights=opened.weights if opened else None,
        preprocess=request.preprocess,
    )


def _asked(request: IndexRequest, record: IndexRecord | None, sources: Sequence[Path]) -> EmbedRequest | None:
    """What embeds manifests, or what embeddings have to be of; None where neither is asked."""
    manifests = [source for source in sources if is_manifest(source)]
    if request.network is None and not manifests:
        return None
    given = NetworkOptions(request.network, request.weights, request.preprocess, request.allow_code)
    asked = network_request(given, record)
    if asked is None:
        raise InputError(f"{manifests[0]} lists images: say which network embeds them, --network CHECKPOINT")
    flip = record is not None and record.flip
    return replace(asked, flip=flip, max_bad_fraction=request.max_bad_fraction)


def _opened(
    asked: EmbedRequest, request: IndexRequest, record: IndexRecord | None, options: Options
) -> OpenedNetwork:
    from ..embedding.command import open_asked

    opened = open_asked(asked, options)
    if record is not None and record.network is not None and opened.fingerprint != record.network:
        raise StaleArtifactError(
            f"{opened.words} is network {opened.fingerprint}, {request.source} was embedded by {record.network}; give that --network"
        )
    size = opened.network.embedding_size
    if record is not None and size != record.dimensions:
        raise StaleArtifactError(
            f"{opened.words} makes embeddings of {size} numbers, {request.source} has {record.dimensions}; give the --network that it is of"
        )
    return opened


def _planned(
    manifests: EmbeddedManifests,
    request: IndexRequest,
    record: IndexRecord | None,
    sources: Sequence[Path],
    options: Options,
) -> dict[str, Any]:
    """Say what the work will take; nothing is done."""
    sizes = [manifests.size(source) for source in sources]
    if record is not None:
        sizes.append(IndexSize(record.images, record.identities, record.dimensions, OF_NAME * record.images))
    size = IndexSize.of(sizes)
    over_images = request.images if record is None else record.images_index is not None
    kind, dtype = (request.kind, request.dtype) if record is None else (record.asked, record.dtype)
    options.console.say(cost_of_index(size, kind, dtype, over_images=over_images))
    options.console.say("dry run: nothing was done")
    return {
        "dry_run": True,
        "images": size.images,
        "identities": size.identities,
        "dimensions": size.dimensions,
    }

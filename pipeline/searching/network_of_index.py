"""Which network embeds images for an index: the one that is named, else the one that it was made with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.errors import InputError, StaleArtifactError
from ...train.checkpoint_meta import META
from ...train.networks.registry import CHECKPOINT_PREFIX, PRETRAINED, file_of, path_and_part
from ..embedding.request import EmbedRequest
from .index_record import IndexRecord

if TYPE_CHECKING:
    from ..embedding.opened_network import OpenedNetwork


@dataclass(frozen=True)
class NetworkOptions:
    """How a network is named on the command line."""

    network: str | None = None
    weights: str | None = None
    preprocess: tuple[str, ...] = ()
    """KEY=VALUE, over what the network says of its images."""
    allow_code: bool = False


def network_request(given: NetworkOptions, record: IndexRecord | None) -> EmbedRequest | None:
    """What opens the network; None where nothing names one. The index remembers options that are not given again.

    >>> network_request(NetworkOptions(), None) is None
    True
    >>> network_request(NetworkOptions("onnx:face.onnx", preprocess=("mean=0.5",)), None).network
    'onnx:face.onnx'
    """
    from ..embedding.opened_network import run_allows_code

    network = given.network or (record.checkpoint if record else None)
    if network is None:
        return None
    # Options belong to the network that they were given with, wherever it lies now.
    weights = given.weights or (record.weights if record and given.network is None else None)
    preprocess = given.preprocess or (tuple(record.preprocess) if record else ())
    return EmbedRequest(
        network,
        (),
        Path("asked.parquet"),
        weights=weights,
        preprocess=preprocess,
        # An index may come from anybody: what a run allows counts where the run itself is named.
        allow_code=given.allow_code or (given.network is not None and run_allows_code(given.network)),
    )


def _gone(asked: EmbedRequest) -> str | None:
    """The option that says where a file of the network is, where it lies no more where it did; None: all is there."""
    spec, weights = asked.network, asked.weights
    is_checkpoint = spec.startswith(CHECKPOINT_PREFIX)
    file = f"{spec.removeprefix(CHECKPOINT_PREFIX)}/{META}" if is_checkpoint else file_of(spec)
    beside = None if weights in (None, PRETRAINED) else path_and_part(weights)[0]
    missing = {option: path for option, path in (("--network", file), ("--weights", beside)) if path}
    return next((option for option, path in missing.items() if not Path(path).exists()), None)


def network_of_queries(given: NetworkOptions, record: IndexRecord, index: Path) -> OpenedNetwork:
    """The network that embeds queries of an index.

    Raises:
        InputError: nothing names one, or it cannot be opened.
        StaleArtifactError: another one than embedded the index.
    """
    from ..embedding.opened_network import choose_network, open_network

    asked = network_request(given, record)
    if asked is None:
        raise InputError(
            f"{index} does not say which network embeds images; give --network CHECKPOINT, or embeddings as queries"
        )
    try:
        chosen = choose_network(asked.network, asked.weights)
        opened = open_network(chosen, asked.config.preprocess, allow_code=asked.allow_code)
    except InputError as error:
        gone = None if given.network is not None else _gone(asked)
        if gone is None:
            raise
        raise InputError(f"{error}; {index} was made with it: say with {gone} where it is now") from error
    if opened.network.embedding_size != record.dimensions:
        raise StaleArtifactError(
            f"{opened.words} gives {opened.network.embedding_size} numbers, {index} holds {record.dimensions}; "
            "give the --network that embedded it"
        )
    if record.network is not None and opened.fingerprint != record.network:
        raise StaleArtifactError(
            f"{opened.words} is network {opened.fingerprint}, {index} was embedded by {record.network}; "
            "give that --network, with its --weights and --preprocess, or make the index again"
        )
    return opened

"""A network to embed with: a run, a checkpoint, or a spec such as `onnx:FILE`, opened and known by its content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.errors import InputError
from ...train.checkpoint_meta import META
from ...train.data.preprocess_config import PreprocessConfig
from ...train.networks.registry import (
    CHECKPOINT_PREFIX,
    NETWORKS,
    SPECS_IN_WORDS,
    TIMM_PREFIX,
    check_network,
    kind_of,
)
from ...train.user_functions import PYTHON_PREFIX
from ..configuration.config_file import load_config
from ..configuration.overrides import file_from_root, kept_overrides, network_from_root
from ..exporting.chosen_checkpoint import choose_checkpoint
from ..run_directory import RunDirectory

if TYPE_CHECKING:
    from ...train.networks.backbone import Backbone

FILE_PREFIXES = {".onnx": "onnx:", ".pt2": "exported:", ".torchscript": "torchscript:"}


@dataclass(frozen=True)
class ChosenNetwork:
    """Which network is meant, before any is opened."""

    spec: str
    words: str
    """What it is, for a person."""
    weights: str | None = None


@dataclass(frozen=True)
class OpenedNetwork:
    """A network, and what it is."""

    network: Backbone
    words: str
    spec: str
    """What opens it from any folder; paths in it are absolute."""
    weights: str | None = None
    """The weights that were named beside it, as an absolute path where they are a file."""

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal weights and preprocessing."""
        from ...train.networks.weights_fingerprint import network_fingerprint

        return network_fingerprint(self.network)


def choose_network(text: str, weights: str | None = None) -> ChosenNetwork:
    """The network that `text` means: of a run its best checkpoint, else its latest; a checkpoint; or a spec.

    Raises:
        InputError: none of them; or a network whose weights would be drawn at random.

    Example:
        >>> choose_network("onnx:face.onnx")
        ChosenNetwork(spec='onnx:face.onnx', words='onnx:face.onnx', weights=None)
    """
    found = kind_of(text)
    if found is None and text not in NETWORKS:
        path = Path(text)
        if path.is_file() and path.suffix in FILE_PREFIXES:
            raise InputError(f"{text} is a file; write {FILE_PREFIXES[path.suffix]}{text}")
        if not path.is_dir():
            raise InputError(f"{text} is no folder of a run or checkpoint, nor a network: {SPECS_IN_WORDS}")
        chosen = choose_checkpoint(path)
        if weights is not None:
            raise InputError(
                f"--weights {weights}: {text} brings weights of its own; leave one of the two out"
            )
        return ChosenNetwork(f"{CHECKPOINT_PREFIX}{chosen.folder}", f"{chosen.folder} ({chosen.why})")
    check_network(text, weights)
    if weights is None and (found is None or found[0] == TIMM_PREFIX):
        pretrained = " or --weights pretrained" if found else ""
        raise InputError(f"{text} would embed with weights drawn at random; give --weights FILE{pretrained}")
    return ChosenNetwork(text, text, weights)


def run_allows_code(network: str) -> bool:
    """Whether `network`, as a user names it, is a run whose settings have `allow_code=true`, which its stages obey too.

    What a checkpoint, or a file of another program, says of itself allows nothing.

    Raises:
        InputError: a run without a finished network, or with wrong settings.
    """
    run = RunDirectory(Path(network))
    if not run.config.is_file() or (run.path / META).is_file():
        return False
    calls_code = choose_checkpoint(run.path).meta.spec.startswith(PYTHON_PREFIX)
    return calls_code and load_config(run.config, kept_overrides(run)).allow_code


def open_network(
    chosen: ChosenNetwork, preprocess: PreprocessConfig | None = None, *, allow_code: bool = False
) -> OpenedNetwork:
    """The network itself, on the CPU.

    Args:
        preprocess: over what the network says of its images.
        allow_code: a checkpoint may call the `python:` function that it names.

    Raises:
        InputError: it cannot be opened, or makes embeddings of another size than it says.
    """
    from ...train.checkpoint import load_network
    from ...train.networks.backbone import check_embedding

    network = load_network(chosen.spec, preprocess=preprocess, weights=chosen.weights, allow_code=allow_code)
    check_embedding(network)
    weights = chosen.weights and file_from_root(chosen.weights)
    return OpenedNetwork(network, chosen.words, network_from_root(chosen.spec), weights)

"""The networks that `--model` names, as data: a wrong name is refused without torch.

    small                                       32 px, 128-d, for two CPU cores
    iresnet18, iresnet34, -50, -100, -200       112 px, 512-d; InsightFace's names
    mobilefacenet                               112 px, 512-d; InsightFace's names
    nn1, nn2, nn3, nn4, nns1, nns2              FaceNet's, 96 to 224 px, 128-d

and those that a prefix names, see `KINDS`. A new network is a file of this folder and a line of `NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ..data.image_input import ImageInput
from ..user_functions import PYTHON_PREFIX, module_and_function

CHECKPOINT_PREFIX = "checkpoint:"
TIMM_PREFIX = "timm:"
PRETRAINED = "pretrained"
"""In place of a file of weights: those that timm knows of the network."""


@dataclass(frozen=True)
class NetworkSpec:
    """How a network is made: `function(embedding_size=..., **arguments)` of a module of this folder.

    Where another size than its own is asked for, `input_size=(height, width)` is given as well.
    """

    module: str
    function: str
    input: ImageInput
    """What its images become."""
    embedding_size: int
    """Where none is asked for."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """What a prefix names: networks whose size and preprocessing their source says."""

    example: str
    """How it is written."""
    module: str = ""
    """A module of this folder with `build(name, embedding_size=, preprocess=) -> Backbone`; none for checkpoints."""
    function: str = ""
    of_file: bool = False
    """What follows the prefix is a file."""
    kept_as: str = ""
    """The file's name in a checkpoint; such a network is frozen, nothing trains it."""


_FACE = ImageInput(112)
NETWORKS: dict[str, NetworkSpec] = {
    "small": NetworkSpec("small", "SmallNetwork", ImageInput(32), 128),
    **{
        name: NetworkSpec("iresnet", "build_iresnet", _FACE, 512, {"name": name})
        for name in ("iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet200")
    },
    "mobilefacenet": NetworkSpec("mobilefacenet", "MobileFaceNet", _FACE, 512),
    **{
        name: NetworkSpec("facenet", "build_facenet", ImageInput(size), 128, {"name": name})
        for name, size in (
            ("nn1", 220),
            ("nn2", 224),
            ("nn3", 160),
            ("nn4", 96),
            ("nns1", 165),
            ("nns2", (140, 116)),
        )
    },
}

KINDS: dict[str, Kind] = {
    TIMM_PREFIX: Kind("timm:NAME", "timm_networks", "build_timm_network"),
    "insightface:": Kind("insightface:FILE.pth", "insightface_file", "build_insightface", of_file=True),
    "onnx:": Kind("onnx:FILE", "onnx_file", "build_onnx_network", of_file=True, kept_as="model.onnx"),
    "torchscript:": Kind(
        "torchscript:FILE", "torch_file", "build_script_network", of_file=True, kept_as="model.torchscript"
    ),
    "exported:": Kind(
        "exported:FILE.pt2", "torch_file", "build_exported_network", of_file=True, kept_as="model.pt2"
    ),
    PYTHON_PREFIX: Kind("python:module:function", "user_modules", "build_user_network"),
    CHECKPOINT_PREFIX: Kind("checkpoint:DIR"),
}
"""What each prefix names."""

SPECS_IN_WORDS = (
    "small, iresnet18|34|50|100|200, mobilefacenet, nn1|2|3|4, nns1|2, timm:NAME, insightface:FILE.pth, "
    "python:module:function, checkpoint:DIR; frozen: onnx:FILE, torchscript:FILE, exported:FILE.pt2"
)
KNOWN_SPECS = (*NETWORKS, *(kind.example for kind in KINDS.values()))


def kind_of(spec: str) -> tuple[str, Kind] | None:
    """The prefix of a spec and its kind; None where the network has a name of its own."""
    prefix, colon, _ = spec.partition(":")
    kind = KINDS.get(prefix + colon)
    return None if kind is None else (prefix + colon, kind)


def kept_as(spec: str) -> str:
    """What a checkpoint calls its copy of the file of a frozen network; empty for networks that train."""
    found = kind_of(spec)
    return "" if found is None else found[1].kept_as


def spec_in(folder: Path, spec: str) -> str:
    """A network's own spec as a checkpoint opens it: a frozen one from the copy of its file there."""
    return f"{spec.partition(':')[0]}:{folder / kept_as(spec)}" if kept_as(spec) else spec


def refuse_training(spec: str) -> None:
    """Nothing, for a network that trains.

    Raises:
        InputError: it is frozen.
    """
    if kept_as(spec):
        raise InputError(
            f"{spec} is frozen: `subspace extract`, `cluster`, `plan` and `eval` work with it, but nothing trains it; "
            "to train, take a network that is built here, such as iresnet50 or timm:NAME, with --weights FILE"
        )


def file_of(spec: str) -> str | None:
    """The file that a spec names, without `#PART`; None where it names none.

    Example:
        >>> from subspace.train.networks.registry import file_of
        >>> file_of("onnx:nets/face.onnx#embedding"), file_of("iresnet50")
        ('nets/face.onnx', None)
    """
    found = kind_of(spec)
    return path_and_part(spec.removeprefix(found[0]))[0] if found is not None and found[1].of_file else None


def path_and_part(file: str) -> tuple[str, str]:
    """FILE and PART of `FILE#PART`; PART, which names one of several things in the file, may be missing."""
    path, _, part = file.partition("#")
    return path, part


def check_network(spec: str, weights: str | None = None) -> None:
    """Say now what is wrong with the name of a network, or with weights for it, without building or opening it.

    Raises:
        InputError: no network of that name, or an incomplete one, or one that takes no weights.
    """
    found = kind_of(spec)
    if found is None:
        if spec not in NETWORKS:
            prefix, colon, _ = spec.partition(":")
            near = (
                get_close_matches(prefix + colon, KINDS, 1) if colon else get_close_matches(spec, NETWORKS, 1)
            )
            meant = KINDS[near[0]].example if near and near[0] in KINDS else "".join(near)
            guess = f"did you mean {meant}? " if near else ""
            raise InputError(f"unknown network {spec!r}; {guess}use one of {', '.join(KNOWN_SPECS)}")
    elif spec.startswith(PYTHON_PREFIX):
        module_and_function(spec)
    elif spec == found[0]:
        what = ", a folder with a meta.json" if spec == CHECKPOINT_PREFIX else ""
        raise InputError(f"{spec!r} is incomplete; write {found[1].example}{what}")
    if weights is None:
        return
    if found is not None and (found[1].of_file or spec.startswith(CHECKPOINT_PREFIX)):
        raise InputError(f"weights={weights}: {spec} brings weights of its own; leave one of the two out")
    if weights == PRETRAINED and not spec.startswith(TIMM_PREFIX):
        raise InputError(f"weights={weights} is for timm:NAME; give {spec} a file: --weights FILE")

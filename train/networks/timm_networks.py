"""Networks of timm (PyTorch Image Models): `timm:NAME`, convolutional ones and transformers.

Weights are drawn by seed; `weights=pretrained` fetches those that timm knows, and nothing is fetched unasked. Size,
crop, interpolation, mean and std are those of timm's `resolve_model_data_config`, and a remark says where they cannot be:
a crop of stretched or of fitted images, bars of another colour than black, a crop larger than the image. The embedding is
the pooled features; another `embedding_size` adds a linear layer to them.
"""

from __future__ import annotations

import importlib
import sys
from collections import OrderedDict
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ...mining.errors import InputError
from ..data.image_input import ImageInput
from ..data.preprocess_config import PreprocessConfig
from .backbone import DRAWN, Backbone
from .frozen import one_line

HINT = "pip install 'subspace-mining[timm]'"
RESIZE = {"center": "crop", "squash": "stretch", "border": "letterbox"}
"""Our rule for each of timm's crop modes."""
INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "box", "nearest")

_schemas: list[torch.library.Library] = []
"""Kept: an operator is forgotten with its library."""


def build_timm_network(
    name: str, *, embedding_size: int | None, preprocess: PreprocessConfig, pretrained: bool = False
) -> Backbone:
    """The network that timm calls `name`, such as `resnet18`, `vit_tiny_patch16_224` or `vit_base_patch16_clip_224.openai`.

    Another `preprocess.size` is given to networks whose shape depends on it, as transformers' does.

    Raises:
        InputError: timm is missing, has no such network, cannot fetch its weights, or the network refuses the size.
    """
    timm = import_timm()
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), 1)
        raise InputError(
            f"timm:{name}: timm {timm.__version__} has no {architecture}"
            + (f"; did you mean timm:{near[0]}?" if near else "")
        )
    model: Any = _created(timm, name, pretrained=False)
    own, differences = _input(name, timm.data.resolve_model_data_config(model))
    wanted = preprocess.applied_to(own)
    other_size = None if wanted.height_and_width == own.height_and_width else wanted.height_and_width
    if pretrained or other_size is not None:
        model = _created(timm, name, pretrained=pretrained, size=other_size)
    features: int = getattr(model, "head_hidden_size", None) or model.num_features
    body, part, added = model, "", ()
    if embedding_size not in (None, features):
        body = nn.Sequential(OrderedDict(features=model, embedding=nn.Linear(features, embedding_size)))
        part = "features"
        added = (f"a linear layer makes {embedding_size} numbers of timm's {features} features{DRAWN}",)
    backbone = Backbone(
        body, spec=f"timm:{name}", input=wanted, embedding_size=embedding_size or features, published=part
    )
    backbone.remarks = (
        *((f"weights as timm {timm.__version__} fetched them",) if pretrained else ()),
        *added,
        *differences,
    )
    return backbone


def import_timm() -> ModuleType:
    """timm, also where torchvision, which it imports, has lost its operators.

    PyPI's torchvision is built for CUDA and does not find its library beside a torch without it; its Python then asks
    for two operators that nobody registered. No network of timm uses them: their names are registered, without code.

    Raises:
        InputError: timm or torchvision is missing, or does not import.
    """
    try:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            for module in [module for module in sys.modules if module.partition(".")[0] == "torchvision"]:
                del sys.modules[module]
            _schemas.append(torch.library.Library("torchvision", "FRAGMENT"))
            for operator in ("nms", "qnms"):
                _schemas[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            importlib.import_module("torchvision")
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise InputError(f"timm: {error.name} is missing: {HINT}") from error
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"timm cannot be imported beside torch {torch.__version__}: {one_line(error)}; {HINT}"
        ) from error


def _created(timm: Any, name: str, *, pretrained: bool, size: tuple[int, int] | None = None) -> nn.Module:
    shape = {} if size is None else {"img_size": size}
    try:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **shape)
        except TypeError:  # no img_size: a convolutional network takes any size
            if not shape:
                raise
            return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # timm, its hub and its networks have many kinds
        what = "cannot fetch its weights" if pretrained else "cannot be built"
        at = f" at preprocess.size={list(size)}" if size else ""
        way = "; fetch them elsewhere and give --weights FILE" if pretrained else ""
        raise InputError(f"timm:{name} {what}{at}: {one_line(error)}{way}") from error


def _input(name: str, config: dict[str, Any]) -> tuple[ImageInput, tuple[str, ...]]:
    """What a network takes; and in which ways its images are prepared otherwise than timm does."""
    channels, height, width = config["input_size"]
    if channels != 3:
        raise InputError(f"timm:{name} takes images of {channels} channels, and these have 3")
    mode, crop, interpolation = config["crop_mode"], config["crop_pct"], config["interpolation"]
    resize = RESIZE.get(mode, "crop")
    kept = min(crop, 1.0) if resize == "crop" else 1.0
    differences = []
    if kept != crop:
        differences.append(
            f"timm's crop of {crop:g} is not made where its crop mode is {mode}; here it is {kept:g}"
        )
    if mode == "border":
        differences.append("timm's bars have the mean colour; here they are black")
    image_input = ImageInput(
        height if height == width else (height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resize=resize,  # pyright: ignore[reportArgumentType]
        crop=kept,
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bilinear",
    )
    return image_input, tuple(differences)

"""The loss of a starting network: of the losses in `losses.py`, those that need no network to begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from ...mining.errors import InputError
from .building import NewClasses, build_loss
from .cosine_head import CosineClassLoss
from .oim import OIMLoss

SETTING = "pretrain.loss"
CLASS_LOSSES = (
    "softmax",
    "cosface",
    "arcface",
    "mv_softmax",
    "curricularface",
    "circle",
    "partial_fc",
    "oim",
)
TOO_EARLY = {
    "subspace_softmax": "there are no subspaces before the first round",
    "offline": "its batches pair look-alikes, and nobody knows them before the first round",
}


def build_pretraining_loss(
    expression: str, arguments: Mapping[str, Mapping[str, Any]], classes: NewClasses
) -> nn.Module:
    """The loss that `expression` describes, its class weights at random.

    One of its parts is a class loss. Triplets alone teach a network without knowledge slowly, or collapse it; in a
    sum with a class loss they are welcome.

    Raises:
        InputError: as `build_loss`; or no class loss, or a loss that needs the means of a network.
    """
    for name in re.findall(r"[a-z_]+", expression):
        if name in TOO_EARLY:
            raise InputError(f"{SETTING}={expression}: {TOO_EARLY[name]}; use {', '.join(CLASS_LOSSES)}")
    loss = build_loss(expression, arguments, classes, SETTING)
    if not any(isinstance(part, CosineClassLoss | OIMLoss) for part in loss.modules()):
        raise InputError(
            f"{SETTING}={expression} classifies nobody, and a network that knows nothing learns little from pairs; "
            f"use {', '.join(CLASS_LOSSES)}, alone or in a sum"
        )
    return loss


def check_pretraining_loss(expression: str, arguments: Mapping[str, Mapping[str, Any]]) -> None:
    """Say now what `build_pretraining_loss` would say later."""
    build_pretraining_loss(expression, arguments, NewClasses(4, 4, 0))

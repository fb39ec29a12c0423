"""Torch: networks, planned batches, losses, the training loop and checkpoints.

The names below are stable. They are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load_network, save_checkpoint
    from .data.batches import Plan, PlanBatchSampler
    from .data.images import ImageStore
    from .losses.batch_ohnm import BatchOHNMLoss
    from .losses.class_losses import SoftmaxLoss
    from .networks.backbone import Backbone
    from .networks.building import build_backbone

__all__ = [
    "Backbone",
    "BatchOHNMLoss",
    "ImageStore",
    "Plan",
    "PlanBatchSampler",
    "SoftmaxLoss",
    "build_backbone",
    "load_network",
    "save_checkpoint",
]

_HOME = {
    "Backbone": "networks.backbone",
    "BatchOHNMLoss": "losses.batch_ohnm",
    "ImageStore": "data.images",
    "Plan": "data.plan_reader",
    "PlanBatchSampler": "data.plan_sampler",
    "SoftmaxLoss": "losses.class_losses",
    "build_backbone": "networks.building",
    "load_network": "checkpoint",
    "save_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Torch: networks, planned batches, losses, the training loop and checkpoints.

The names below are stable. They are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..mining.lazy_names import import_on_first_use

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from .checkpoint import load_network as load_network
    from .checkpoint import save_checkpoint as save_checkpoint
    from .checkpoint_meta import CheckpointMeta as CheckpointMeta
    from .data.batches import DecodedBatches as DecodedBatches
    from .data.batches import ImageBatch as ImageBatch
    from .data.batches import ImageChunks as ImageChunks
    from .data.batches import load_batches as load_batches
    from .data.image_input import ImageInput as ImageInput
    from .data.images import ImageStore as ImageStore
    from .data.plan_reader import Plan as Plan
    from .data.plan_sampler import PlanBatchSampler as PlanBatchSampler
    from .data.shares import gather_batch as gather_batch
    from .devices import pick_device as pick_device
    from .embedder import EmbeddedBatch as EmbeddedBatch
    from .embedder import embed as embed
    from .losses.batch_ohnm import BatchOHNMLoss as BatchOHNMLoss
    from .losses.building import build_loss as build_loss
    from .losses.class_losses import ArcFaceLoss as ArcFaceLoss
    from .losses.class_losses import CosFaceLoss as CosFaceLoss
    from .losses.class_losses import SoftmaxLoss as SoftmaxLoss
    from .losses.cross_batch_memory import CrossBatchMemory as CrossBatchMemory
    from .losses.pair_losses import MultiSimilarityLoss as MultiSimilarityLoss
    from .losses.partial_fc import PartialFCLoss as PartialFCLoss
    from .networks.backbone import Backbone as Backbone
    from .networks.building import build_backbone as build_backbone

_NAMES = {
    "checkpoint": ["load_network", "save_checkpoint"],
    "checkpoint_meta": ["CheckpointMeta"],
    "data.batches": ["DecodedBatches", "ImageBatch", "ImageChunks", "load_batches"],
    "data.images": ["ImageStore"],
    "data.plan_reader": ["Plan"],
    "data.plan_sampler": ["PlanBatchSampler"],
    "data.shares": ["gather_batch"],
    "devices": ["pick_device"],
    "embedder": ["EmbeddedBatch", "embed"],
    "data.image_input": ["ImageInput"],
    "losses.batch_ohnm": ["BatchOHNMLoss"],
    "losses.building": ["build_loss"],
    "losses.class_losses": ["ArcFaceLoss", "CosFaceLoss", "SoftmaxLoss"],
    "losses.cross_batch_memory": ["CrossBatchMemory"],
    "losses.pair_losses": ["MultiSimilarityLoss"],
    "losses.partial_fc": ["PartialFCLoss"],
    "networks.backbone": ["Backbone"],
    "networks.building": ["build_backbone"],
}
__getattr__, __dir__, __all__ = import_on_first_use(__name__, _NAMES)

"""Losses over triplets, over pairs and over classes: `from subspace.train.losses import MultiSimilarityLoss`.

    registry               every loss that a run can name, a row each with its settings as data; no torch
    setting_rules          which values a setting may have: a number in a range, a word, a flag; no torch
    building               an expression such as batch_ohnm + 0.5*arcface, checked without torch, then built
    loss                   what every loss answers besides its value, and a weighted sum of losses
    batch_ohnm             every anchor-positive pair with the anchor's k nearest negatives, the paper's loss
    batch_ohnm_kernel      the same within a batch, loss and gradient in one pass without B x B numbers
    batch_ohnm_references  the same among references, such as a memory of past batches
    triplet_rules          batch all, batch hard, semi-hard
    random_triplets        negatives drawn uniformly (OHNM), or by distance
    offline_triplets       FaceNet's offline triplets, over identities that the plan has paired
    pair_losses            contrastive, multi-similarity, circle, pairwise CosFace
    verification           is this pair one identity: cross-entropy
    class_losses           softmax, CosFace, ArcFace, MV-Softmax, CurricularFace, circle
    cosine_head            the head of the class losses: cross-entropy over scaled cosines
    cosine_margins         what each margin does to the cosines, as functions
    partial_fc             class losses over a part of the classes: Partial FC, subspace softmax
    oim                    online instance matching: a table of running means and a queue
    cross_batch_memory     the embeddings of recent batches as references of a pair or triplet loss
    anchors                which reference is a positive or a negative of which anchor
    step_generator         random choices as a function of seed, purpose and step
    unit_length            unit vectors, or an error that says what to do

The names below are stable. They are imported on first use, and `check_loss`, `LOSSES` and their like without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch_ohnm import BatchOHNMLoss
    from .building import (
        NewClasses,
        TrainingSet,
        build_loss,
        build_pretraining_loss,
        check_loss,
        check_pretraining_loss,
    )
    from .class_losses import (
        ArcFaceLoss,
        CircleClassLoss,
        CosFaceLoss,
        CurricularFaceLoss,
        MVSoftmaxLoss,
        SoftmaxLoss,
    )
    from .cross_batch_memory import CrossBatchMemory
    from .loss import EmbeddingLoss, JointLoss, TripletLoss, TripletStatistics
    from .offline_triplets import OfflineTripletLoss
    from .oim import OIMLoss
    from .pair_losses import CirclePairLoss, ContrastiveLoss, MultiSimilarityLoss, PairwiseCosFaceLoss
    from .partial_fc import PartialFCLoss, SubspaceSoftmaxLoss
    from .random_triplets import DistanceWeightedLoss, RandomTripletLoss
    from .registry import LOSSES
    from .triplet_rules import BatchAllLoss, BatchHardLoss, SemiHardLoss
    from .verification import VerificationLoss

__all__ = [
    "LOSSES",
    "ArcFaceLoss",
    "BatchAllLoss",
    "BatchHardLoss",
    "BatchOHNMLoss",
    "CircleClassLoss",
    "CirclePairLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CrossBatchMemory",
    "CurricularFaceLoss",
    "DistanceWeightedLoss",
    "EmbeddingLoss",
    "JointLoss",
    "MVSoftmaxLoss",
    "MultiSimilarityLoss",
    "NewClasses",
    "OIMLoss",
    "OfflineTripletLoss",
    "PairwiseCosFaceLoss",
    "PartialFCLoss",
    "RandomTripletLoss",
    "SemiHardLoss",
    "SoftmaxLoss",
    "SubspaceSoftmaxLoss",
    "TrainingSet",
    "TripletLoss",
    "TripletStatistics",
    "VerificationLoss",
    "build_loss",
    "build_pretraining_loss",
    "check_loss",
    "check_pretraining_loss",
]

_HOME = {
    "LOSSES": "registry",
    "ArcFaceLoss": "class_losses",
    "BatchAllLoss": "triplet_rules",
    "BatchHardLoss": "triplet_rules",
    "BatchOHNMLoss": "batch_ohnm",
    "CircleClassLoss": "class_losses",
    "CirclePairLoss": "pair_losses",
    "ContrastiveLoss": "pair_losses",
    "CosFaceLoss": "class_losses",
    "CrossBatchMemory": "cross_batch_memory",
    "CurricularFaceLoss": "class_losses",
    "DistanceWeightedLoss": "random_triplets",
    "EmbeddingLoss": "loss",
    "JointLoss": "loss",
    "MVSoftmaxLoss": "class_losses",
    "MultiSimilarityLoss": "pair_losses",
    "NewClasses": "building",
    "OIMLoss": "oim",
    "OfflineTripletLoss": "offline_triplets",
    "PairwiseCosFaceLoss": "pair_losses",
    "PartialFCLoss": "partial_fc",
    "RandomTripletLoss": "random_triplets",
    "SemiHardLoss": "triplet_rules",
    "SoftmaxLoss": "class_losses",
    "SubspaceSoftmaxLoss": "partial_fc",
    "TrainingSet": "building",
    "TripletLoss": "loss",
    "TripletStatistics": "loss",
    "VerificationLoss": "verification",
    "build_loss": "building",
    "build_pretraining_loss": "building",
    "check_loss": "building",
    "check_pretraining_loss": "building",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

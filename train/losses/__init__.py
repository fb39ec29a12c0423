"""Losses over triplets, over pairs and over classes: `from subspace.train.losses import MultiSimilarityLoss`.

    registry               every loss that a run can name, a row each with its settings as data; no torch
    setting_rules          which values a setting may have: a number in a range, a word, a flag; no torch
    building               an expression such as batch_ohnm + 0.5*arcface, checked without torch, then built
    own_losses             losses from elsewhere: python:module:function, pml:NAME and searched:PATH
    loss                   what every loss answers besides its value, a module of one's own as a loss, and a weighted sum
    batch_ohnm             every anchor-positive pair with the anchor's k nearest negatives, the paper's loss
    triplet_rules          batch all, batch hard, semi-hard
    random_triplets        negatives drawn uniformly (OHNM), or by distance
    offline_triplets       FaceNet's offline triplets, over identities that the plan has paired
    pair_losses            contrastive, multi-similarity, circle, pairwise CosFace
    verification           is this pair one identity: cross-entropy
    class_losses           softmax, CosFace, ArcFace, MV-Softmax, CurricularFace, circle, and what `subspace search-loss` finds
    cosine_head            the head of the class losses: cross-entropy over scaled cosines, and the margins
    partial_fc             class losses over a part of the classes: Partial FC, subspace softmax
    oim                    online instance matching: a table of running means and a queue
    cross_batch_memory     the embeddings of recent batches as references of a pair or triplet loss
    pair_engine            what all pair and triplet losses run on: loss and gradient in one pass, in blocks
    sorted_pairs           anchors beside references, sorted by label, and their gradient
    negative_terms         sums over all negatives, tile by tile, for the losses over pairs
    triplet_choice         which triplets a loss takes, as tables, and the hinge over them
    step_generator         random choices as a function of seed, purpose and step
    unit_length            unit vectors, or an error that says what to do

The names below are stable. They are imported on first use, and `check_loss`, `LOSSES` and their like without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...mining.lazy_names import import_on_first_use

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from .batch_ohnm import BatchOHNMLoss as BatchOHNMLoss
    from .building import NewClasses as NewClasses
    from .building import TrainingSet as TrainingSet
    from .building import build_loss as build_loss
    from .building import build_pretraining_loss as build_pretraining_loss
    from .building import check_loss as check_loss
    from .building import check_pretraining_loss as check_pretraining_loss
    from .class_losses import ArcFaceLoss as ArcFaceLoss
    from .class_losses import CircleClassLoss as CircleClassLoss
    from .class_losses import CosFaceLoss as CosFaceLoss
    from .class_losses import CurricularFaceLoss as CurricularFaceLoss
    from .class_losses import MVSoftmaxLoss as MVSoftmaxLoss
    from .class_losses import SearchedLoss as SearchedLoss
    from .class_losses import SoftmaxLoss as SoftmaxLoss
    from .cross_batch_memory import CrossBatchMemory as CrossBatchMemory
    from .loss import EmbeddingLoss as EmbeddingLoss
    from .loss import JointLoss as JointLoss
    from .loss import OwnLoss as OwnLoss
    from .loss import TripletLoss as TripletLoss
    from .loss import TripletStatistics as TripletStatistics
    from .offline_triplets import OfflineTripletLoss as OfflineTripletLoss
    from .oim import OIMLoss as OIMLoss
    from .pair_losses import CirclePairLoss as CirclePairLoss
    from .pair_losses import ContrastiveLoss as ContrastiveLoss
    from .pair_losses import MultiSimilarityLoss as MultiSimilarityLoss
    from .pair_losses import PairwiseCosFaceLoss as PairwiseCosFaceLoss
    from .partial_fc import PartialFCLoss as PartialFCLoss
    from .partial_fc import SubspaceSoftmaxLoss as SubspaceSoftmaxLoss
    from .random_triplets import DistanceWeightedLoss as DistanceWeightedLoss
    from .random_triplets import RandomTripletLoss as RandomTripletLoss
    from .registry import LOSSES as LOSSES
    from .triplet_rules import BatchAllLoss as BatchAllLoss
    from .triplet_rules import BatchHardLoss as BatchHardLoss
    from .triplet_rules import SemiHardLoss as SemiHardLoss
    from .verification import VerificationLoss as VerificationLoss

_NAMES = {
    "batch_ohnm": ["BatchOHNMLoss"],
    "building": [
        "NewClasses",
        "TrainingSet",
        "build_loss",
        "build_pretraining_loss",
        "check_loss",
        "check_pretraining_loss",
    ],
    "class_losses": [
        "ArcFaceLoss",
        "CircleClassLoss",
        "CosFaceLoss",
        "CurricularFaceLoss",
        "MVSoftmaxLoss",
        "SearchedLoss",
        "SoftmaxLoss",
    ],
    "cross_batch_memory": ["CrossBatchMemory"],
    "loss": ["EmbeddingLoss", "JointLoss", "OwnLoss", "TripletLoss", "TripletStatistics"],
    "offline_triplets": ["OfflineTripletLoss"],
    "oim": ["OIMLoss"],
    "pair_losses": ["CirclePairLoss", "ContrastiveLoss", "MultiSimilarityLoss", "PairwiseCosFaceLoss"],
    "partial_fc": ["PartialFCLoss", "SubspaceSoftmaxLoss"],
    "random_triplets": ["DistanceWeightedLoss", "RandomTripletLoss"],
    "registry": ["LOSSES"],
    "triplet_rules": ["BatchAllLoss", "BatchHardLoss", "SemiHardLoss"],
    "verification": ["VerificationLoss"],
}
__getattr__, __dir__, __all__ = import_on_first_use(__name__, _NAMES)

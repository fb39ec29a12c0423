"""Losses by name, as `train.loss` of a run's settings has them.

batch_ohnm                          one loss
batch_ohnm + 0.5*arcface            a weighted sum of any
xbm:multi_similarity                a loss with a memory of past batches (cross-batch memory)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ...mining.errors import InputError
from .. import distributed
from .batch_ohnm import TripletStatistics
from .cosine_head import CosineClassLoss
from .oim import OIMLoss

LOSSES = {
    "batch_ohnm": ("batch_ohnm", "BatchOHNMLoss"),
    "ohnm": ("random_triplets", "RandomTripletLoss"),
    "distance_weighted": ("random_triplets", "DistanceWeightedLoss"),
    "batch_all": ("triplet_rules", "BatchAllLoss"),
    "batch_hard": ("triplet_rules", "BatchHardLoss"),
    "semi_hard": ("triplet_rules", "SemiHardLoss"),
    "offline": ("offline_triplets", "OfflineTripletLoss"),
    "contrastive": ("pair_losses", "ContrastiveLoss"),
    "multi_similarity": ("pair_losses", "MultiSimilarityLoss"),
    "circle_pair": ("pair_losses", "CirclePairLoss"),
    "pairwise_cosface": ("pair_losses", "PairwiseCosFaceLoss"),
    "verification": ("verification", "VerificationLoss"),
    "softmax": ("class_losses", "SoftmaxLoss"),
    "cosface": ("class_losses", "CosFaceLoss"),
    "arcface": ("class_losses", "ArcFaceLoss"),
    "mv_softmax": ("class_losses", "MVSoftmaxLoss"),
    "curricularface": ("class_losses", "CurricularFaceLoss"),
    "circle": ("class_losses", "CircleClassLoss"),
    "partial_fc": ("partial_fc", "PartialFCLoss"),
    "subspace_softmax": ("partial_fc", "SubspaceSoftmaxLoss"),
    "oim": ("oim", "OIMLoss"),
    "xbm": ("cross_batch_memory", "CrossBatchMemory"),
}

DEFAULT_ARGS: dict[str, dict[str, Any]] = {"multi_similarity": {"threshold": 0.8, "beta": 20.0}}
"""Of `train.loss_args`; BENCHMARKS.md says why not the paper's 0.5 and 50."""
_UNASKED = (
    *DEFAULT_ARGS.items(),
    ("multi_similarity", {"threshold": 0.8}),
    ("batch_ohnm", {"margin": 0.3, "negatives": 3}),
)
"""What `subspace.yaml` has, or had when it was written, whatever its loss."""
_TERM = re.compile(r"^(?:(?P<weight>[0-9.eE+-]+)\*)?(?P<memory>xbm:)?(?P<name>[a-z_]+)$")


@dataclass(frozen=True)
class TrainingSet:
    """What a loss is told of the identities that it is trained on; of each identity only what it asks for."""

    classes: int
    """C."""
    embedding_size: int
    """D."""
    means: Callable[[], Tensor]
    """float32[C, D], the mean of every identity; class weights begin there."""
    subspace_of: Callable[[], Tensor]
    """int64[C]."""
    seed: int

    @classmethod
    def of(cls, means: Tensor, subspace_of: Tensor, seed: int) -> TrainingSet:
        """Of means and subspaces in memory."""
        classes, embedding_size = means.shape
        return cls(classes, embedding_size, lambda: means, lambda: subspace_of, seed)


@dataclass(frozen=True)
class NewClasses:
    """Identities of which nothing is known but their number: class weights begin at random, by `seed`."""

    classes: int
    embedding_size: int
    seed: int


class JointLoss(nn.Module):
    """A weighted sum of losses, called like one: `loss(embeddings, labels)`."""

    def __init__(self, parts: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = weights

    @property
    def statistics(self) -> TripletStatistics | None:
        """Of the first part that has any."""
        return next((s for part in self.parts if (s := getattr(part, "statistics", None))), None)

    def forward(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        """Return the scalar sum for float[B, D] embeddings and int[B] labels."""
        values = [
            weight * part(embeddings_BD, labels_B)
            for part, weight in zip(self.parts, self.weights, strict=True)
        ]
        return torch.stack(values).sum()


def build_loss(
    expression: str,
    arguments: Mapping[str, Mapping[str, Any]],
    training_set: TrainingSet | NewClasses,
    setting: str = "train.loss",
) -> nn.Module:
    """The loss that `expression` describes.

    Class weights and OIM's table begin at the identity means where there are any, so that a class loss continues
    where the network stands instead of undoing it; the labels are places in `training_set`.

    Args:
        arguments: settings by the name of the loss, e.g. {"batch_ohnm": {"margin": 0.2}}.
        setting: what errors call the expression; its arguments are `SETTING_args`.

    Raises:
        InputError: an unknown loss or setting, or a value out of range.
    """
    parts, weights = [], []
    for term in re.sub(r"\s*\+\s*(?=[0-9.]*[*a-z]|[0-9])", "|", expression.strip()).split("|"):
        match = _TERM.match(term.replace(" ", ""))
        if match is None or match["name"] not in LOSSES or match["name"] == "xbm":
            raise InputError(
                f"unknown loss '{term.strip()}' in {setting}={expression}; use {', '.join(LOSSES)}"
            )
        part = _build(match["name"], arguments, training_set, setting)
        if match["memory"]:
            part = _build("xbm", arguments, training_set, setting, loss=part)
        parts.append(part)
        weights.append(_number(match["weight"] or "1", f"{setting}={expression}"))
    unasked = {name for name, own in arguments.items() if (name, own) in _UNASKED}
    unused = set(arguments) - set(re.findall(r"[a-z_]+", expression)) - unasked
    if unused:
        raise InputError(f"{setting}_args.{min(unused)} is given, but {setting}={expression} does not use it")
    return parts[0] if weights == [1.0] else JointLoss(parts, weights)


def labels_are_places(loss: nn.Module) -> bool:
    """Whether the labels of `loss` number the identities 0..C-1; others only compare them, and take any numbers."""
    return any(isinstance(part, (CosineClassLoss, OIMLoss)) for part in loss.modules())


def check_loss(expression: str, arguments: Mapping[str, Mapping[str, Any]]) -> None:
    """Say now what `build_loss` would say later."""
    build_loss(expression, arguments, TrainingSet.of(torch.eye(4), torch.zeros(4, dtype=torch.int64), 0))


def _build(
    name: str,
    arguments: Mapping[str, Mapping[str, Any]],
    training_set: TrainingSet | NewClasses,
    setting: str,
    **given: Any,
) -> nn.Module:
    module, class_name = LOSSES[name]
    kind = getattr(import_module(f".{module}", __package__), class_name)
    known: dict[str, Callable[[], Any]] = {
        "classes": lambda: training_set.classes,
        "embedding_size": lambda: training_set.embedding_size,
        "seed": lambda: training_set.seed,
        **{key: lambda value=value: value for key, value in given.items()},
    }
    if isinstance(training_set, TrainingSet):
        known["subspace_of"] = training_set.subspace_of
    parameters = inspect.signature(kind).parameters
    own = dict(arguments.get(name, {}))
    wrong = next((key for key in own if key not in parameters or key in known), None)
    if wrong is not None:
        settings = ", ".join(key for key in parameters if key not in known)
        raise InputError(f"unknown setting {setting}_args.{name}.{wrong}; '{name}' has {settings}")
    try:
        loss = kind(**own, **{key: value() for key, value in known.items() if key in parameters})
    except TypeError as error:
        raise InputError(f"{setting}_args.{name}={own}: {error}") from error
    if isinstance(training_set, TrainingSet):
        for part in loss.modules():
            if isinstance(part, CosineClassLoss):
                rows = (
                    distributed.shard_rows(part.weight) if distributed.is_shard(part.weight) else slice(None)
                )
                part.weight.data.copy_(training_set.means()[rows])
            if isinstance(part, OIMLoss):
                part.table.copy_(training_set.means())
    return loss


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"'{text}' in {where} is not a weight") from error

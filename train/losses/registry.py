"""Every loss that a run can name, a row each: where its class is, and its settings as data. Imports no torch.

A new loss is a module of this folder and a row here. Names and defaults of a row equal the signature of the
constructor, which takes its range checks from the row by `check_settings`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

from ...mining.errors import InputError, SubspaceWarning
from .setting_rules import Above, Choice, Flag, MarginOfKind, Needs, Number, Rule


class Setting(NamedTuple):
    """One argument of a loss that a user may set."""

    default: Any
    rule: Rule


@dataclass(frozen=True)
class LossRow:
    """A loss of this folder."""

    module: str
    class_name: str
    settings: Mapping[str, Setting]
    given: tuple[str, ...] = ()
    """Arguments that the training set answers, not the user."""
    takes_references: bool = True
    """Whether it can serve in a memory of past batches, as `xbm:NAME`."""
    too_early: str = ""
    """Why it cannot train a starting network; empty where it can."""

    @property
    def needs_classes(self) -> bool:
        """Whether it keeps a vector for every identity."""
        return "num_classes" in self.given


def _class_loss(
    module: str, class_name: str, settings: Mapping[str, Setting], *more: str, too_early: str = ""
) -> LossRow:
    given = ("num_classes", "embedding_size", "seed", *more)
    return LossRow(module, class_name, settings, given, takes_references=False, too_early=too_early)


FLAG = Flag()
POSITIVE = Number(0, above=True)
NUMBER_OR_NONE = Number(optional=True)
COUNT, COUNT_OR_0 = Number(1, whole=True), Number(0, whole=True)
UNIT = Number(0, 1)
SCALE = Number(1e-3, 1e4, "16 to 64 is usual")
COSINE = Number(0, 2, "a difference of cosines, 0.35 to 0.4 is usual")
ANGLE = Number(0, math.pi / 2, "an angle in radians, 0.3 to 0.5 is usual")
MARGIN = MarginOfKind({"softmax": None, "cosface": COSINE, "arcface": ANGLE})
KIND = Choice(("softmax", "cosface", "arcface"))
MARGIN_GRADIENT = Choice(("exact", "constant"))

LOSSES = {
    "batch_ohnm": LossRow("batch_ohnm", "BatchOHNMLoss", {
        "margin": Setting(0.3, Number(0)), "negatives": Setting(3, COUNT), "squared": Setting(True, FLAG),
        "soft_margin": Setting(False, FLAG), "margin_inside": Setting(False, Needs("soft_margin", True)),
        "mean_over_active": Setting(True, FLAG),
        "range_min": Setting(0, COUNT_OR_0), "range_max": Setting(None, Above("range_min")),
        "max_similarity": Setting(None, NUMBER_OR_NONE), "absolute_margin": Setting(None, NUMBER_OR_NONE),
        "share_of_positive": Setting(None, Number(0, 1, "0.95 is usual", optional=True)),
        "choose_in": Setting("float32", Choice(("float32", "bfloat16"))),
    }),
    "ohnm": LossRow("random_triplets", "RandomTripletLoss", {"margin": Setting(0.3, POSITIVE)}, ("seed",)),
    "distance_weighted": LossRow("random_triplets", "DistanceWeightedLoss", {
        "margin": Setting(0.2, POSITIVE),
        "boundary": Setting(None, Number(0, 2, "a Euclidean distance", above=True, below=True, optional=True)),
    }, ("seed",)),
    "batch_all": LossRow("triplet_rules", "BatchAllLoss", {"margin": Setting(0.3, POSITIVE)}),
    "batch_hard": LossRow("triplet_rules", "BatchHardLoss", {
        "margin": Setting(0.3, POSITIVE), "squared": Setting(True, FLAG), "soft_margin": Setting(False, FLAG),
        "margin_inside": Setting(False, Needs("soft_margin", True)),
    }),
    "semi_hard": LossRow("triplet_rules", "SemiHardLoss", {
        "margin": Setting(0.2, POSITIVE), "negative": Setting("hardest", Choice(("hardest", "random"))),
    }, ("seed",)),
    "offline": LossRow("offline_triplets", "OfflineTripletLoss", {
        "margin": Setting(0.2, POSITIVE),
    }, takes_references=False,
        too_early="its batches pair look-alikes, and they are not known before the first round"),
    "contrastive": LossRow("pair_losses", "ContrastiveLoss", {
        "margin": Setting(1.0, Number(0, 2, "a Euclidean distance", above=True)),
        "pos_margin": Setting(0.0, Number(0, 2, "a Euclidean distance", below=True)),
        "squared": Setting(True, FLAG), "separate_means": Setting(False, FLAG),
    }),
    "multi_similarity": LossRow("pair_losses", "MultiSimilarityLoss", {
        "alpha": Setting(2.0, POSITIVE), "beta": Setting(50.0, POSITIVE),
        "base": Setting(0.5, Number(-1, 1, "a cosine")), "mining_epsilon": Setting(None, NUMBER_OR_NONE),
    }),
    "circle_pair": LossRow("pair_losses", "CirclePairLoss", {
        "margin": Setting(0.25, UNIT), "gamma": Setting(256.0, POSITIVE),
    }),
    "pairwise_cosface": LossRow("pair_losses", "PairwiseCosFaceLoss", {
        "margin": Setting(0.25, Number(0, 2, "0 to 0.4 is usual")), "scale": Setting(32.0, POSITIVE),
    }),
    "verification": LossRow("verification", "VerificationLoss", {
        "dropout": Setting(0.5, Number(0, 1, below=True)),
    }, ("embedding_size", "seed")),
    "softmax": _class_loss("class_losses", "SoftmaxLoss", {"scale": Setting(16.0, SCALE)}),
    "cosface": _class_loss("class_losses", "CosFaceLoss", {
        "margin": Setting(0.4, COSINE), "scale": Setting(64.0, SCALE),
    }),
    "arcface": _class_loss("class_losses", "ArcFaceLoss", {
        "margin": Setting(0.5, ANGLE), "margin_gradient": Setting("exact", MARGIN_GRADIENT),
        "scale": Setting(64.0, SCALE),
    }),
    "mv_softmax": _class_loss("class_losses", "MVSoftmaxLoss", {
        "kind": Setting("am", Choice(("am", "arc"))),
        "weighting": Setting("adaptive", Choice(("fixed", "adaptive"))),
        "margin": Setting(None, MarginOfKind({"am": COSINE, "arc": ANGLE})),
        "easy_margin": Setting(False, FLAG), "t": Setting(0.2, Number(0, 2, "0.2 is usual")),
        "scale": Setting(32.0, SCALE),
    }),
    "curricularface": _class_loss("class_losses", "CurricularFaceLoss", {
        "margin": Setting(0.5, ANGLE), "scale": Setting(64.0, SCALE),
        "momentum": Setting(0.01, Number(0, 1, "the share of the newest batch, 0.01 is usual")),
    }),
    "circle": _class_loss("class_losses", "CircleClassLoss", {
        "margin": Setting(0.25, UNIT), "gamma": Setting(256.0, Number(1e-3, 1e4, "128 to 256 is usual")),
    }),
    "partial_fc": _class_loss("partial_fc", "PartialFCLoss", {
        "kind": Setting("arcface", KIND),
        "share": Setting(0.1, Number(1e-9, 1, "0.1 is usual, 1 takes every class")),
        "share_of": Setting("others", Choice(("others", "all"))),
        "margin": Setting(None, MARGIN), "margin_gradient": Setting("exact", MARGIN_GRADIENT),
        "scale": Setting(64.0, SCALE), "sparse_gradient": Setting(False, FLAG),
    }),
    "subspace_softmax": _class_loss("partial_fc", "SubspaceSoftmaxLoss", {
        "kind": Setting("softmax", KIND), "margin": Setting(None, MARGIN),
        "margin_gradient": Setting("exact", MARGIN_GRADIENT), "scale": Setting(64.0, SCALE),
        "sparse_gradient": Setting(False, FLAG),
    }, "subspace_of", too_early="there are no subspaces before the first round"),
    "oim": _class_loss("oim", "OIMLoss", {
        "queue_size": Setting(5000, COUNT_OR_0), "temperature": Setting(0.1, Number(1e-3, 100, "0.1 is usual")),
        "momentum": Setting(0.5, Number(0, 1, "the old row's share, 0.5 is usual")),
        "start": Setting("random", Choice(("random", "zeros"))),
    }),
    "xbm": LossRow("cross_batch_memory", "CrossBatchMemory", {
        "memory_size": Setting(4096, COUNT), "warmup_steps": Setting(1000, COUNT_OR_0),
    }, ("loss", "embedding_size"), takes_references=False),
}  # fmt: skip
"""The losses by name; `xbm` wraps another."""

_NEW_NAMES = {
    "multi_similarity": {"threshold": "base"},
    "xbm": {"size": "memory_size"},
    "batch_ohnm": {"skip": "range_min", "relative_margin": "absolute_margin"},
}
_MORE_OF_OLD_NAMES = {
    ("batch_ohnm", "relative_margin"): " (sentence-transformers' relative_margin=r is share_of_positive=1-r)",
}
"""What a warning adds where another project uses the old name for something else."""


def check_settings(name: str, settings: Mapping[str, Any], where: str = "") -> None:
    """Refuse values that the loss `name` cannot take.

    Args:
        settings: all settings of the loss, each known to its row.
        where: stands before the name of the setting in the error, e.g. `train.loss_args.arcface.`.

    Raises:
        InputError: a value out of range or of the wrong type.
    """
    for key, value in settings.items():
        problem = LOSSES[name].settings[key].rule.problem(value, settings)
        if problem:
            shown = repr(value) if isinstance(value, str) else value
            raise InputError(f"{where}{key}={shown}{problem}")


def renamed_arguments(
    arguments: Mapping[str, Mapping[str, Any]], setting: str = "train.loss"
) -> dict[str, dict[str, Any]]:
    """Settings of losses under their names of today, with a SubspaceWarning for each older name.

    >>> renamed_arguments({"arcface": {"margin": 0.3}, "multi_similarity": {"base": 0.7}})
    {'arcface': {'margin': 0.3}, 'multi_similarity': {'base': 0.7}}

    Call it on a file and on overrides before one is laid over the other, so that the override wins.

    Args:
        arguments: settings by the name of the loss.
        setting: what messages call the loss; its arguments are `SETTING_args`.

    Raises:
        InputError: a setting under its old and its new name.
    """
    return {name: _renamed(name, own, f"{setting}_args.{name}.") for name, own in arguments.items()}


def _renamed(name: str, own: Mapping[str, Any], where: str) -> dict[str, Any]:
    news = _NEW_NAMES.get(name, {})
    for old in (key for key in own if key in news):
        if news[old] in own:
            raise InputError(f"{where}{old} is the old name of {news[old]}, and both are given: leave it out")
        more = _MORE_OF_OLD_NAMES.get((name, old), "")
        warnings.warn(f"{where}{old} is now called {news[old]}{more}", SubspaceWarning, stacklevel=3)
    return {news.get(key, key): value for key, value in own.items()}


def with_older_names(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let the constructor of the loss `name` take older names of its settings, with a SubspaceWarning for each."""

    def wrap(constructor: Callable[..., None]) -> Callable[..., None]:
        @wraps(constructor)
        def construct(self: Any, *values: Any, **settings: Any) -> None:
            constructor(self, *values, **_renamed(name, settings, f"{type(self).__name__}: "))

        return construct

    return wrap


def current_name(field: str) -> str:
    """The name of today of a field of a fingerprint, such as `train.loss_args.multi_similarity.base`.

    >>> current_name("train.loss_args.multi_similarity.threshold")
    'train.loss_args.multi_similarity.base'
    """
    *section, name, key = ["", "", *field.split(".")]
    new = _NEW_NAMES.get(name, {}).get(key, key) if section[-1:] == ["loss_args"] else key
    return ".".join([*section, name, new]).lstrip(".")


def fingerprint_arguments(arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings of losses under their older names, which fingerprints keep so that stored runs stay valid.

    >>> fingerprint_arguments({"multi_similarity": {"base": 0.7}})
    {'multi_similarity': {'threshold': 0.7}}
    """
    olds = {name: {new: old for old, new in news.items()} for name, news in _NEW_NAMES.items()}
    return {
        name: {olds.get(name, {}).get(key, key): value for key, value in own.items()}
        for name, own in arguments.items()
    }

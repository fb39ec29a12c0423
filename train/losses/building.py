"""Losses by name, as `train.loss` and `pretrain.loss` of a run have them: checked without torch, then built.

batch_ohnm                          one loss
batch_ohnm + 0.5*arcface            a weighted sum of any
xbm:multi_similarity                a loss with a memory of past batches (cross-batch memory)
python:module:function              the user's own; pml:NAME is pytorch-metric-learning's; searched:PATH a curve's file
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ...mining.errors import InputError
from ..loss_search.curve import SEARCHED_PREFIX, terms_of
from .own_losses import build_own, check_own, is_own, takes_references
from .registry import LOSSES, LossRow, check_settings, renamed_arguments

if TYPE_CHECKING:
    from torch import Tensor

    from .loss import EmbeddingLoss

DEFAULT_ARGS: dict[str, dict[str, Any]] = {"multi_similarity": {"base": 0.8, "beta": 20.0}}
"""Default of `train.loss_args`; BENCHMARKS.md says why not the paper's 0.5 and 50."""
_UNASKED = (
    *DEFAULT_ARGS.items(),
    ("multi_similarity", {"base": 0.8}),
    ("batch_ohnm", {"margin": 0.3, "negatives": 3}),
)
"""What `subspace.yaml` has, or had when it was written, whatever its loss."""
_TERM = re.compile(
    r"^(?:(?P<weight>[0-9.eE+-]+)\*)?(?P<memory>xbm:)?(?P<name>[a-z_]+|pml:\w*|python:.*|searched:.+)$"
)
_PRETRAINING = "pretrain.loss"
CLASS_LOSSES = tuple(name for name, row in LOSSES.items() if row.needs_classes and not row.too_early)
"""Losses that can train a starting network by themselves."""


@dataclass(frozen=True)
class TrainingSet:
    """The identities that a loss is trained on; what it does not ask for is not read.

    >>> import torch
    >>> identities = TrainingSet.from_means(torch.eye(4), subspace_of=torch.tensor([0, 0, 1, 1]), seed=0)
    >>> identities.num_classes, identities.embedding_size
    (4, 4)
    """

    num_classes: int
    """C."""
    embedding_size: int
    """D."""
    means: Callable[[], Tensor]
    """float32[C, D], the mean of every identity; class weights begin there."""
    subspace_of: Callable[[], Tensor]
    """int64[C]."""
    seed: int

    @classmethod
    def from_means(cls, means: Tensor, subspace_of: Tensor, seed: int) -> TrainingSet:
        """Take means float32[C, D] and subspaces int64[C] that are in memory."""
        num_classes, embedding_size = means.shape
        return cls(num_classes, embedding_size, lambda: means, lambda: subspace_of, seed)


@dataclass(frozen=True)
class NewClasses:
    """Identities of which nothing is known but their number: class weights begin at random, by `seed`.

    >>> build_loss("softmax", {}, NewClasses(num_classes=10, embedding_size=8, seed=0)).labels_are_places
    True
    """

    num_classes: int
    embedding_size: int
    seed: int


class _Term(NamedTuple):
    """One summand of an expression."""

    weight: float
    name: str
    memory: bool

    def names(self) -> tuple[str, ...]:
        return ("xbm", self.name) if self.memory else (self.name,)

    @property
    def row(self) -> LossRow | None:
        """None of a loss that is not of this folder."""
        return LOSSES.get(self.name)


def check_loss(
    expression: str, arguments: Mapping[str, Mapping[str, Any]], setting: str = "train.loss"
) -> None:
    """Refuse what `build_loss` would refuse, without building it and without torch.

    >>> check_loss("batch_ohnm + 0.5*arcface", {"arcface": {"margin": 0.3}})
    >>> check_loss("batch_ohnm", {"batch_ohnm": {"negatives": 0}})
    Traceback (most recent call last):
    subspace.mining.errors.InputError: train.loss_args.batch_ohnm.negatives=0 must be a whole number of at least 1

    Args:
        arguments: settings by the name of the loss, e.g. {"batch_ohnm": {"margin": 0.2}}.
        setting: what errors call the expression; its arguments are `SETTING_args`.

    Raises:
        InputError: an unknown loss or setting, a value out of range, or settings of a loss that is not used.
    """
    _check(_parse(expression, setting), expression, renamed_arguments(arguments, setting), setting)


def pair_losses_of(expression: str, setting: str = "train.loss") -> tuple[str, ...]:
    """The losses of an expression that learn from two images of an identity in one batch, and from nothing else.

    >>> pair_losses_of("batch_ohnm + 0.5*arcface"), pair_losses_of("xbm:batch_ohnm + python:mine:loss")
    (('batch_ohnm',), ())
    """
    terms = _parse(expression, setting)
    return tuple(term.name for term in terms if term.row and not term.row.needs_classes and not term.memory)


def check_pretraining_loss(expression: str, arguments: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what `build_pretraining_loss` would refuse, without building it and without torch.

    >>> check_pretraining_loss("softmax + 0.5*batch_ohnm", {})

    Raises:
        InputError: as `check_loss`; or no class loss, or a loss that needs the means of a network.
    """
    terms = _parse(expression, _PRETRAINING)
    for term in terms:
        if term.row and term.row.too_early:
            why = f"{term.row.too_early}; use {', '.join(CLASS_LOSSES)}"
            raise InputError(f"{_PRETRAINING}={expression}: {why}")
    _check(terms, expression, renamed_arguments(arguments, _PRETRAINING), _PRETRAINING)
    if not any(term.name in CLASS_LOSSES or is_own(term.name) for term in terms):
        raise InputError(
            f"{_PRETRAINING}={expression} has no class loss, and a network that knows nothing learns little from "
            f"pairs; use {', '.join(CLASS_LOSSES)}, alone or in a sum"
        )


def build_loss(
    expression: str,
    arguments: Mapping[str, Mapping[str, Any]],
    training_set: TrainingSet | NewClasses,
    setting: str = "train.loss",
) -> EmbeddingLoss:
    """Build the loss that `expression` describes.

    Class weights and OIM's table begin at the identity means where there are any, so that a class loss continues
    where the network stands instead of undoing it; the labels are places in `training_set`.

    >>> build_loss("2*batch_ohnm + softmax", {"batch_ohnm": {"margin": 0.2}}, NewClasses(10, 8, seed=0)).weights
    [2.0, 1.0]

    Args:
        arguments: settings by the name of the loss, e.g. {"batch_ohnm": {"margin": 0.2}}.
        setting: what errors call the expression; its arguments are `SETTING_args`.

    Raises:
        InputError: as `check_loss`; or a loss that needs subspaces, of `NewClasses`.
    """
    from .loss import JointLoss

    arguments = renamed_arguments(arguments, setting)
    terms = _parse(expression, setting)
    _check(terms, expression, arguments, setting)
    parts = []
    for term in terms:
        part = _build(term.name, arguments, training_set, setting)
        parts.append(_build("xbm", arguments, training_set, setting, loss=part) if term.memory else part)
    weights = [term.weight for term in terms]
    loss = parts[0] if weights == [1.0] else JointLoss(parts, weights)
    if isinstance(training_set, TrainingSet) and any(part.begins_at_means for part in parts):
        loss.begin_at(training_set.means())
    return loss


def try_own_losses(
    expression: str,
    arguments: Mapping[str, Mapping[str, Any]],
    classes: NewClasses,
    setting: str = "train.loss",
) -> None:
    """Build what an expression names beside the losses of this folder, so that what is wrong is known hours earlier.

    Args:
        classes: a few will do; nothing of them is kept.

    Raises:
        InputError: as `build_loss`.
        OwnCodeError: the user's function raised an error.
    """
    arguments = renamed_arguments(arguments, setting)
    for term in _parse(expression, setting):
        if is_own(term.name):
            loss = _build(term.name, arguments, classes, setting)
            if term.memory:
                _build("xbm", arguments, classes, setting, loss=loss)


def build_pretraining_loss(
    expression: str, arguments: Mapping[str, Mapping[str, Any]], classes: NewClasses
) -> EmbeddingLoss:
    """Build the loss of a starting network, its class weights at random.

    One of its parts is a class loss. Triplets alone teach a network without knowledge slowly, or collapse it; in a
    sum with a class loss they are welcome.

    >>> type(build_pretraining_loss("cosface", {"cosface": {"scale": 16}}, NewClasses(10, 8, seed=0))).__name__
    'CosFaceLoss'

    Raises:
        InputError: as `check_pretraining_loss`.
    """
    check_pretraining_loss(expression, arguments)
    return build_loss(expression, arguments, classes, _PRETRAINING)


def _parse(expression: str, setting: str) -> list[_Term]:
    terms = []
    for text in terms_of(expression):
        before, path, after = text.partition(SEARCHED_PREFIX)
        match = _TERM.match(f"{before.replace(' ', '')}{path}{after.strip() if path else ''}")
        if match is not None and is_own(match["name"]):
            check_own(match["name"], f"{setting}={expression}")
        elif match is None or match["name"] not in LOSSES or match["name"] == "xbm":
            near = get_close_matches(match["name"], LOSSES, 1) if match else []
            guess = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"unknown loss '{text.strip()}' in {setting}={expression}; {guess}use {', '.join(LOSSES)}, "
                "python:module:function, pml:NAME or searched:PATH"
            )
        try:
            weight = float(match["weight"] or 1)
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise InputError(f"'{match['weight']}' in {setting}={expression} is not a weight above 0")
        terms.append(_Term(weight, match["name"], match["memory"] is not None))
    return terms


def _check(
    terms: list[_Term], expression: str, arguments: Mapping[str, Mapping[str, Any]], setting: str
) -> None:
    for term in terms:
        if term.memory and not (term.row.takes_references if term.row else takes_references(term.name)):
            why = f"a memory cannot serve '{term.name}', which takes no references (ref_emb, ref_labels)"
            raise InputError(f"{setting}={expression}: {why}")
    used = dict.fromkeys(name for term in terms for name in term.names())
    for name in used:
        if is_own(name):  # it checks its own
            continue
        own, settings = arguments.get(name, {}), LOSSES[name].settings
        wrong = next((key for key in own if key not in settings), None)
        if wrong is not None:
            raise InputError(
                f"unknown setting {setting}_args.{name}.{wrong}; '{name}' has {', '.join(settings)}"
            )
        defaults = {key: known.default for key, known in settings.items()}
        check_settings(name, {**defaults, **own}, where=f"{setting}_args.{name}.")
    unasked = {name for name, own in arguments.items() if (name, own) in _UNASKED}
    unused = arguments.keys() - used.keys() - unasked
    if unused:
        problem = f"{setting}_args.{min(unused)} is given, but {setting}={expression} does not use it"
        raise InputError(f"{problem}: remove it from subspace.yaml or the command")


def _build(
    name: str,
    arguments: Mapping[str, Mapping[str, Any]],
    training_set: TrainingSet | NewClasses,
    setting: str,
    **given: EmbeddingLoss,
) -> EmbeddingLoss:
    if is_own(name):
        about = {key: getattr(training_set, key) for key in ("num_classes", "embedding_size", "seed")}
        return build_own(name, arguments.get(name, {}), about, setting)
    row = LOSSES[name]
    kind = getattr(import_module(f".{row.module}", __package__), row.class_name)
    answers: dict[str, Any] = dict(given)
    for key in row.given:
        if key == "subspace_of":
            if not isinstance(training_set, TrainingSet):
                raise InputError(f"'{name}' needs subspaces: {row.too_early}")
            answers[key] = training_set.subspace_of()
        elif key not in given:
            answers[key] = getattr(training_set, key)
    return kind(**answers, **arguments.get(name, {}))

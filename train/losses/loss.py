"""What every loss of this folder answers besides its value, and a sum of losses, which asks its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ...mining.device_copies import to_device
from ...mining.errors import InputError
from ..user_functions import blamed
from .step_generator import StepSeeds, seeded_globally
from .unit_length import check_finite, check_images, working_dtype


class TripletStatistics(NamedTuple):
    """What a training log shows of a batch; each a scalar tensor without gradient, NaN without triplets.

    >>> TripletStatistics(torch.tensor(0.25), d_ap=torch.tensor(0.4), d_an=torch.tensor(1.1)).active_fraction
    tensor(0.2500)
    """

    active_fraction: Tensor
    """Share of the mined triplets that violate the margin."""
    d_ap: Tensor
    """Mean distance from anchor to positive over the mined triplets."""
    d_an: Tensor
    """Mean distance from anchor to mined negative."""


class Rung(NamedTuple):
    """One way to make a loss softer."""

    name: str
    take: Callable[[], None]
    """Changes the loss in place."""


class EmbeddingLoss(nn.Module):
    """A loss, called as `loss(embeddings, labels)`; its answers are those of a pair loss until a subclass differs.

    A subclass defines `forward(self, embeddings, labels)` for float[B, D] embeddings and int[B] labels, which
    may lie on the CPU while the embeddings lie on a GPU: then nothing waits for it. One that compares images takes `ref_emb`, `ref_labels` and `own_start` after them, as `pair_loss` explains.

    Whoever calls it, `forward` gets embeddings in float32 (float64 stays) of a shape that fits the labels, with autocast off;
    the gradient comes back in the type of the embeddings. Call `backward` outside autocast, as torch advises.

    >>> class Spread(EmbeddingLoss):
    ...     def forward(self, embeddings, labels, ref_emb=None, ref_labels=None, own_start=None):
    ...         return embeddings.std()
    >>> loss = Spread()
    >>> loss.takes_references, loss.labels_are_places, loss.collapsed_value
    (True, False, None)
    """

    takes_references: bool = True
    """Whether positives and negatives may come from elsewhere, such as a memory of past batches."""
    embedding_size: int | None = None
    """D, of a loss that was built for it; None: any."""
    statistics: TripletStatistics | None = None
    """Statistics of the latest batch, of a loss over triplets."""

    def __call__(self, embeddings: Tensor, labels: Tensor, *references: Any, **named: Any) -> Tensor:
        """Return the scalar loss.

        Raises:
            InputError: no embeddings, or of another shape, type or size than float[B, D]; labels that are no int[B].
        """
        check_images("embeddings", embeddings, labels)
        if self.embedding_size not in (None, embeddings.shape[1]):
            raise InputError(
                f"embeddings of {embeddings.shape[1]} numbers, but {type(self).__name__} was built for {self.embedding_size}"
            )
        with torch.autocast(embeddings.device.type, enabled=False):
            return super().__call__(embeddings.to(working_dtype(embeddings)), labels, *references, **named)

    @property
    def collapsed_value(self) -> float | None:
        """The value for embeddings that are all equal; None where the loss does not rest there."""
        return None

    @property
    def labels_are_places(self) -> bool:
        """Whether labels must number the identities 0..C-1; other losses only compare them."""
        return False

    @property
    def begins_at_means(self) -> bool:
        """Whether `begin_at` does anything, so that the means are worth reading."""
        return self.labels_are_places

    def begin_at(self, means_CD: Tensor) -> None:
        """Let the vectors of the C identities begin at their means, float[C, D]; nothing without such vectors."""

    def class_vectors(self, labels_B: Tensor) -> Tensor | None:
        """The vectors of these classes, float[B, D], for the log; None without such vectors, or where others hold them."""
        return None

    def rungs(self) -> Iterator[Rung]:
        """Yield what makes this loss softer, to be taken in turn when embeddings collapse."""
        yield from ()


class TripletLoss(EmbeddingLoss):
    """A triplet loss: for equal embeddings it rests at its margin m, or with a soft margin at ln 2 or ln(1 + e^m).

    >>> from subspace.train.losses import BatchHardLoss
    >>> isinstance(BatchHardLoss(margin=0.3), TripletLoss), BatchHardLoss(margin=0.3).collapsed_value
    (True, 0.3)
    """

    margin: float
    soft_margin: bool = False
    margin_inside: bool = False

    @property
    def collapsed_value(self) -> float | None:
        """The value where d_ap = d_an."""
        if not self.soft_margin:
            return self.margin
        return math.log1p(math.exp(self.margin)) if self.margin_inside else math.log(2)


class OwnLoss(EmbeddingLoss):
    """A module of the user's own behind the face of a loss: called as `module(embeddings, labels)`, it returns a scalar.

    Labels come on the device of the embeddings, as places 0..C-1 in the training set. torch's and NumPy's global generators
    are seeded for the call by (seed, step) and left as they were, so that a module that draws from them resumes exactly and
    draws the same in every process. Parameters are trained and buffers saved as those of any module. An `EmbeddingLoss` keeps
    its own answers.

    >>> class Pull(nn.Module):
    ...     def forward(self, embeddings, labels):
    ...         return (embeddings[0] - embeddings[1]).square().sum()
    >>> OwnLoss(Pull(), spec="python:mine:pull", seed=0)(torch.eye(2), torch.tensor([0, 0]))
    tensor(2.)

    Args:
        spec: what errors call it.
        miner: of pytorch-metric-learning; what it finds in the batch is the module's third argument.

    Raises:
        OwnCodeError: the module raised an error; its traceback is the user's part of it.
        InputError: it returns no scalar, one without gradient though the embeddings have one, or on the CPU NaN or infinity.
    """

    def __init__(self, module: nn.Module, spec: str, seed: int, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.module, self.miner, self.spec = module, miner, spec
        self.steps = StepSeeds(seed, f"loss {spec}")
        self.takes_references = self._ours is not None and self._ours.takes_references

    @property
    def _ours(self) -> EmbeddingLoss | None:
        return self.module if isinstance(self.module, EmbeddingLoss) else None

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return what the module returns; references are for an `EmbeddingLoss` that takes them."""
        references = () if ref_emb is None else (ref_emb, ref_labels, own_start)
        if embeddings.device.type == "cpu":
            check_finite(embeddings)
        labels = labels if self._ours else to_device(labels.long(), embeddings.device)
        with blamed(self.spec), seeded_globally(self.steps(), embeddings.device):
            more = references if self.miner is None else (self.miner(embeddings, labels),)
            value = self.module(embeddings, labels, *more)
        if not isinstance(value, Tensor) or value.ndim != 0:
            what = (
                f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            )
            raise InputError(
                f"{self.spec} returned a value of {what}: return a scalar tensor, such as the mean"
            )
        if embeddings.requires_grad and torch.is_grad_enabled() and not value.requires_grad:
            raise InputError(
                f"{self.spec} returned a value without gradient ({value.dtype}), so nothing would be learnt: compute it from the "
                f"embeddings, without detach; where a batch teaches nothing, return embeddings.sum() * 0"
            )
        if value.device.type == "cpu" and not torch.isfinite(value):
            raise InputError(f"{self.spec} returned {value.item()} for embeddings that are finite")
        self.statistics = self._ours.statistics if self._ours else None
        return value

    @property
    def collapsed_value(self) -> float | None:
        """That of an `EmbeddingLoss`."""
        return self._ours.collapsed_value if self._ours else None

    @property
    def labels_are_places(self) -> bool:
        """True, but for an `EmbeddingLoss` that does without."""
        return self._ours.labels_are_places if self._ours else True

    @property
    def begins_at_means(self) -> bool:
        """That of an `EmbeddingLoss`."""
        return self._ours is not None and self._ours.begins_at_means

    def begin_at(self, means_CD: Tensor) -> None:
        """Let an `EmbeddingLoss` begin there."""
        if self._ours:
            self._ours.begin_at(means_CD)

    def class_vectors(self, labels_B: Tensor) -> Tensor | None:
        """What an `EmbeddingLoss` has."""
        return self._ours.class_vectors(labels_B) if self._ours else None

    def rungs(self) -> Iterator[Rung]:
        """Yield those of an `EmbeddingLoss`."""
        if self._ours:
            yield from self._ours.rungs()


class JointLoss(EmbeddingLoss):
    """A weighted sum of losses, called like one: `loss(embeddings, labels)`.

    Its statistics are those of the first part that has any.

    >>> from subspace.train.losses import BatchHardLoss, ContrastiveLoss
    >>> loss = JointLoss([BatchHardLoss(margin=0.3), ContrastiveLoss()], weights=[1.0, 0.5])
    >>> embeddings, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> print(f"{loss(embeddings, labels):.4f}")
    0.4667
    """

    takes_references = False

    def __init__(self, parts: list[EmbeddingLoss], weights: list[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = weights

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar sum for float[B, D] embeddings and int[B] labels."""
        values = [
            weight * part(embeddings, labels) for part, weight in zip(self.parts, self.weights, strict=True)
        ]
        self.statistics = next((part.statistics for part in self._parts() if part.statistics), None)
        return torch.stack(values).sum()

    @property
    def collapsed_value(self) -> float | None:
        """The weighted sum; None unless all parts have one: a class loss beside a triplet loss keeps embeddings apart."""
        values = [part.collapsed_value for part in self._parts()]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return sum(weight * value for weight, value in zip(self.weights, known, strict=True))

    @property
    def labels_are_places(self) -> bool:
        """Whether any part needs them so."""
        return any(part.labels_are_places for part in self._parts())

    def begin_at(self, means_CD: Tensor) -> None:
        """Let every part begin there."""
        for part in self._parts():
            part.begin_at(means_CD)

    def class_vectors(self, labels_B: Tensor) -> Tensor | None:
        """What the first part has that has any."""
        found = (part.class_vectors(labels_B) for part in self._parts())
        return next((vectors for vectors in found if vectors is not None), None)

    def rungs(self) -> Iterator[Rung]:
        """Yield the rungs of the parts."""
        for part in self._parts():
            yield from part.rungs()

    def _parts(self) -> list[EmbeddingLoss]:
        return [cast("EmbeddingLoss", part) for part in self.parts]

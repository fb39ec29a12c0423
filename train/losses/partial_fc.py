"""Class losses over a part of the classes, for more identities than a [B, C] table can hold.

Each step picks R of the C classes, every class of the batch among them, and computes the margin loss as if
there were no others. The weights stay [C, D]; nothing is B x C.

Shapes: B images in a batch, D numbers in an embedding, C classes, R of them used, r of those held by this
process, P present in the batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mining.device_copies import to_device
from ...mining.errors import InputError
from ...mining.randomness import derived_seed
from .. import distributed
from .class_losses import ArcFaceLoss, CosFaceLoss, SoftmaxLoss
from .cosine_head import CosineClassLoss, checked_labels, unit_rows
from .loss import EmbeddingLoss
from .registry import check_settings
from .step_generator import HostCounts, random_numbers
from .unit_length import unit_embeddings

Kind = Literal["softmax", "cosface", "arcface"]
MarginGradient = Literal["exact", "constant"]
ShareOf = Literal["others", "all"]
HEADS: dict[Kind, type[SoftmaxLoss | CosFaceLoss | ArcFaceLoss]] = {
    "softmax": SoftmaxLoss,
    "cosface": CosFaceLoss,
    "arcface": ArcFaceLoss,
}


def others_wanted(present: int, classes: int, share: float, share_of: ShareOf) -> int:
    """How many classes join the P of the batch: ceil(r·(C - P)), or with `all` so many that they are max(P, floor(r·C)).

    >>> others_wanted(present=10, classes=100, share=0.1, share_of="others"), others_wanted(10, 100, 0.1, "all")
    (9, 0)
    """
    if share_of == "all":
        return max(0, math.floor(share * classes) - present)
    return math.ceil(share * (classes - present))


def sample_others(present_P: Tensor, classes: int, count: int, seed: int) -> Tensor:
    """Draw so many different classes among those not in the batch, on its device: int64, the same on every one.

    Args:
        present_P: the classes of the batch, rising, each once.
        classes: C; of several processes each draws among all of them.

    Cost: O(C), whatever the batch size, and a sort of what is drawn.

    >>> sample_others(torch.tensor([0, 2]), classes=5, count=3, seed=0).sort().values.tolist()
    [1, 3, 4]
    """
    device = present_P.device
    number = random_numbers((classes - len(present_P),), seed, device)
    place = torch.arange(len(number), device=device)
    rank = (number << 32 | place).topk(count, largest=False).indices  # no two are equal
    # The absent class of rank r has r absent classes before it, and as many present ones as have at most r.
    before_P = present_P - torch.arange(len(present_P), device=device)
    return rank + torch.searchsorted(before_P, rank, right=True)


class PartialClassLoss(EmbeddingLoss):
    """A margin loss over the classes that `rows` names; subclasses say which. See `PartialFCLoss`.

    Of W processes each holds the weights of C/W classes (model parallel, as in An et al. 2021): it computes the
    cosines to those, and three numbers an image are summed up over processes.
    """

    takes_references = False

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        kind: Kind,
        margin: float | None,
        margin_gradient: MarginGradient,
        scale: float,
        sparse_gradient: bool,
        seed: int,
    ) -> None:
        super().__init__()
        given: dict[str, Any] = {} if margin is None else {"margin": margin}
        if kind == "arcface":
            given["margin_gradient"] = margin_gradient
        self.head: CosineClassLoss = HEADS[kind](num_classes, embedding_size, scale=scale, seed=seed, **given)
        if distributed.count() > 1:
            every = distributed.as_shard(self.head.weight, num_classes)
            own = nn.Parameter(every.detach()[distributed.shard_rows(every)].clone())
            self.head.weight = distributed.as_shard(own, num_classes)
        self.sparse_gradient, self.embedding_size = sparse_gradient, embedding_size

    @property
    def labels_are_places(self) -> bool:
        """True: a label is the row of its class."""
        return True

    def begin_at(self, means_CD: Tensor) -> None:
        """Take the identity means, float[C, D], as weights; of several processes each takes its own rows."""
        weight = self.head.weight
        self.head.begin_at(
            means_CD[distributed.shard_rows(weight)] if distributed.is_shard(weight) else means_CD
        )

    def class_vectors(self, labels_B: Tensor) -> Tensor | None:
        """Rows of the weights; None where several processes share them."""
        return None if distributed.is_shard(self.head.weight) else self.head.class_vectors(labels_B)

    @abstractmethod
    def rows(self, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The classes to use, int64[R], each once, and the place of every label among them, int64[B]."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar mean loss of float[B, D] embeddings with int[B] class labels.

        Raises:
            InputError: NaN or infinity among the embeddings, or a label outside 0..C-1.
        """
        unit_BD = unit_embeddings(embeddings)
        rows_R, place_B = self.rows(checked_labels(labels, self.head.num_classes))
        rows_R, place_B = to_device(rows_R, unit_BD.device), to_device(place_B, unit_BD.device)
        if distributed.is_shard(self.head.weight):
            return self._over_shards(unit_BD, rows_R, place_B)
        weight_RD = functional.embedding(rows_R, self.head.weight, sparse=self.sparse_gradient)
        return self.head.cross_entropy(unit_BD @ unit_rows(weight_RD, unit_BD).T, place_B)

    def _over_shards(self, unit_BD: Tensor, rows_R: Tensor, place_B: Tensor) -> Tensor:
        """The same loss where each process holds the weights of its `share` of the classes."""
        own = distributed.shard_rows(self.head.weight)
        here_R = (rows_R >= own.start) & (rows_R < own.stop)
        weight_rD = functional.embedding(
            rows_R[here_R] - own.start, self.head.weight, sparse=self.sparse_gradient
        )
        cosine_Br = distributed.shared_out(unit_BD) @ unit_rows(weight_rD, unit_BD).T
        # One more column, of no class, is the place of labels whose class another process has.
        cosine_Br = functional.pad(cosine_Br, (0, 1))
        place_R = torch.where(here_R, here_R.cumsum(0) - 1, cosine_Br.shape[1] - 1)
        label_B1 = place_R[place_B][:, None]
        own_B1 = distributed.summed(cosine_Br.gather(1, label_B1))
        target_B1, others_Br = self.head.margin(own_B1, cosine_Br)
        target_B1 = self.head.scale * target_B1
        out_Br = torch.zeros_like(others_Br, dtype=torch.bool).scatter_(1, label_B1, True)
        out_Br[:, -1] = True
        logits_Br = (self.head.scale * others_Br).masked_fill(out_Br, -torch.inf)
        highest_B1 = distributed.largest(torch.maximum(logits_Br.amax(1, keepdim=True), target_B1))
        others_B1 = distributed.summed((logits_Br - highest_B1).exp().sum(1, keepdim=True))
        total_B1 = others_B1 + (target_B1 - highest_B1).exp()
        return (total_B1.log() + highest_B1 - target_B1).mean()


class PartialFCLoss(HostCounts, PartialClassLoss):
    """Margin softmax over the batch's own classes and a random share of the others (Partial FC, An et al. 2021).

    Cost: a [B, D] x [D, R] product, R = P + ceil(r·(C - P)) by default, and [B, R] tables. Only the R rows get a
    gradient; with r = 1 the loss is the full one. In a dense gradient the rest is zero, and an optimiser
    with momentum or weight decay still moves those rows and touches all C; with `sparse_gradient` it does not.

    The draw is a function of `seed` and of the training steps taken so far; in eval mode it repeats.

    >>> loss = PartialFCLoss(num_classes=4, embedding_size=4, kind="cosface", share=0.5, scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.2407

    Args:
        kind: which margin.
        share: r in (0, 1]; the paper's 0.1 is meant for very many identities, small sets want more.
        share_of: `others`, those beside the batch's own; or `all`, as InsightFace counts (arcface_torch, PartialFC_V2):
            R = max(P, floor(r·C)), so that a batch of r·C classes or more has no others.
        margin: m; None is the default of `CosFaceLoss` or `ArcFaceLoss`.
        margin_gradient: of `ArcFaceLoss`; the other margins are constants anyway.
        scale: s; 64, or 32 for small networks.
        sparse_gradient: give the weights a gradient of R rows. With `train.optimizer.name=adamw` or `sgd` these alone
            move, with their moments, as in the authors' code; a GPU is waited for once a step.
    """

    step: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        kind: Kind = "arcface",
        share: float = 0.1,
        share_of: ShareOf = "others",
        margin: float | None = None,
        margin_gradient: MarginGradient = "exact",
        scale: float = 64.0,
        sparse_gradient: bool = False,
        seed: int = 0,
    ) -> None:
        head: dict[str, Any] = {"kind": kind, "margin": margin, "scale": scale}
        head |= {"margin_gradient": margin_gradient, "sparse_gradient": sparse_gradient}
        check_settings("partial_fc", {**head, "share": share, "share_of": share_of})
        super().__init__(num_classes, embedding_size, **head, seed=seed)
        self.share = share
        self.share_of: ShareOf = share_of
        if seed < 0:
            raise InputError(f"seed={seed} must not be negative")
        self.seed = seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def rows(self, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        # Those of the batch are found on the CPU, since a GPU would be waited for.
        present_P, place_B = labels_B.cpu().unique(return_inverse=True)
        count = others_wanted(len(present_P), self.head.num_classes, self.share, self.share_of)
        seed = derived_seed(self.seed, "partial fc", self.count("step"))
        present_P = to_device(present_P, self.head.weight.device)
        others = sample_others(present_P, self.head.num_classes, count, seed)
        if self.training:
            self.advance("step")
        return torch.cat([present_P, others]), place_B


class SubspaceSoftmaxLoss(PartialClassLoss):
    """Margin softmax over the identities of the subspaces that occur in the batch.

    Look-alikes share a subspace, so these are the negatives that count. With subspaces of n identities and
    batches from one of them the cost is a [B, D] x [D, n] product; a batch from many subspaces is correct and
    costs as many times more. With all subspaces present, the loss is the full one.

    Own construction, after the subspace batches of Wang, Zhang and Lan 2017.

    >>> loss = SubspaceSoftmaxLoss(4, 4, subspace_of=torch.tensor([0, 0, 1, 1]), scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4)[:2], labels=torch.tensor([0, 1])):.4f}")
    0.0181

    Args:
        subspace_of: int[C], the subspace of every class. It is not saved: a later round brings its own.
        kind: which margin.
        margin: m; None is the default of `CosFaceLoss` or `ArcFaceLoss`.
        margin_gradient: of `ArcFaceLoss`; the other margins are constants anyway.
        scale: s; 64, or 32 for small networks.
        sparse_gradient: give the weights a gradient of R rows. With `train.optimizer.name=adamw` or `sgd` these alone
            move, with their moments, as in the authors' code; a GPU is waited for once a step.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        subspace_of: Tensor,
        kind: Kind = "softmax",
        margin: float | None = None,
        margin_gradient: MarginGradient = "exact",
        scale: float = 64.0,
        sparse_gradient: bool = False,
        seed: int = 0,
    ) -> None:
        head: dict[str, Any] = {"kind": kind, "margin": margin, "scale": scale}
        head |= {"margin_gradient": margin_gradient, "sparse_gradient": sparse_gradient}
        check_settings("subspace_softmax", head)
        super().__init__(num_classes, embedding_size, **head, seed=seed)
        if subspace_of.shape != (num_classes,):
            raise InputError(
                f"subspace_of has shape {list(subspace_of.shape)}: give one number for each of {num_classes} classes"
            )
        if subspace_of.is_floating_point():
            raise InputError(f"subspace_of is {subspace_of.dtype}: give whole numbers")
        # They stay on the CPU, where labels are and classes are found: a GPU would be waited for.
        _, self._subspace_C, count_S = subspace_of.cpu().unique(return_inverse=True, return_counts=True)
        self._classes_C = self._subspace_C.argsort(stable=True)
        self._end_S = count_S.cumsum(0).tolist()

    def rows(self, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        labels_B = labels_B.cpu()
        present = self._subspace_C[labels_B].unique().tolist()
        spans = [slice(self._end_S[one - 1] if one else 0, self._end_S[one]) for one in present]
        rows_R = torch.cat([self._classes_C[span] for span in spans]).sort().values
        return rows_R, torch.searchsorted(rows_R, labels_B)

"""Identity means that follow the network while it trains, and what they say of the subspaces' age.

Shapes: B images in a batch, I identities, D numbers in an embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..mining.clustering.neighbors import neighbor_recall
from ..mining.errors import InputError
from .losses.unit_length import normalized
from .training_config import ReclusterConfig

MOST_OF_FREE_MEMORY = 1 / 3
"""Share of a GPU's free memory that running means may take when a training begins."""


class RunningMeans:
    """The mean of every identity as an exponential average over its visits in training: no forward pass more.

    A visit with n images x_1..x_n moves the identity's mean vector m to γ m + (1 - γ) Σ x_i / n, with the x_i
    of unit length, as OIM's table (Xiao et al. 2017) moves, but with the length kept: |m| = 1 - spread. An
    identity that is not visited keeps what the last extraction said. Training embeddings are not those of an
    extraction: augmentation, and batch norm's statistics of a batch from one subspace, which remove what the
    subspace has in common (BENCHMARKS.md says what that costs and gains).
    They take I · D · 4 bytes, 2 GB for a million identities of 512 numbers: on the CPU, until `keep_near` finds room
    beside the network.

    Args:
        vector: float32[I, D], not of unit length; what a checkpoint keeps.
        momentum: γ.
    """

    def __init__(self, vector: Tensor, momentum: float = 0.5) -> None:
        if not 0 <= momentum < 1:
            raise InputError(f"momentum={momentum} must be at least 0 and below 1")
        self._vector, self.momentum = vector, momentum
        self._on_the_way: _OnTheWay | None = None

    @classmethod
    def beginning(cls, means: Tensor, spread: Tensor, momentum: float = 0.5) -> RunningMeans:
        """From float32[I, D] unit means, which become these, and float32[I] mean cosine distances of the images to them."""
        return cls(means.mul_((1 - spread.clamp(0, 1))[:, None]), momentum)

    @property
    def vector(self) -> Tensor:
        """float32[I, D], every visit so far taken in."""
        self._settle()
        return self._vector

    def keep_near(self, device: torch.device) -> None:
        """Move them to a GPU where they take at most `MOST_OF_FREE_MEMORY` of it; they stay where they are otherwise."""
        if device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(device)
        if fits(self._vector.nbytes, free):
            self._vector = self._vector.to(device)

    @property
    def place(self) -> torch.device:
        """Where they are kept."""
        return self._vector.device

    @torch.no_grad()
    def update(self, embeddings_BD: Tensor, labels_B: Tensor) -> None:
        """Take in one batch: float[B, D] of any length, and int[B] places among the identities.

        A few kernels that nobody waits for. Where the means are on the CPU and the batch is not, it is copied there
        meanwhile and taken in with the next one. Sums have one order, so the same batches give the same bytes.
        """
        unit_BD = normalized(embeddings_BD.detach()).to(self._vector.dtype)
        if unit_BD.device == self.place:
            self._take_in(unit_BD, labels_B)
        else:
            self._settle()
            self._on_the_way = _OnTheWay(unit_BD, labels_B)

    def _settle(self) -> None:
        if self._on_the_way is not None:
            arrived, self._on_the_way = self._on_the_way.arrived(), None
            self._take_in(*arrived)

    @torch.no_grad()
    def _take_in(self, unit_BD: Tensor, labels_B: Tensor) -> None:
        label_B, order_B = labels_B.sort(stable=True)
        first_B = torch.searchsorted(label_B, label_B)
        end_B = torch.searchsorted(label_B, label_B, right=True)
        place_B = torch.arange(len(label_B), device=label_B.device)
        # One sum for each row: of all rows of its identity for the first one, of none for the others.
        begin_B = torch.where(first_B == place_B, place_B, end_B)
        sum_BD = functional.embedding_bag(order_B, unit_BD, begin_B, mode="sum")[first_B]
        mean_BD = sum_BD / (end_B - first_B)[:, None]
        moved_BD = self.momentum * self._vector[label_B] + (1 - self.momentum) * mean_BD
        finite_B1 = moved_BD.isfinite().all(
            dim=1, keepdim=True
        )  # what overflowed in fp16 would stay for good
        moved_BD = torch.where(finite_B1, moved_BD, self._vector[label_B])
        self._vector.index_copy_(0, label_B, moved_BD)  # rows of one identity are the same row

    def means(self) -> np.ndarray:
        """float32[I, D], unit length; zero where the images of an identity cancel out."""
        vector = self.vector.cpu()  # a GPU may have no room for them twice
        return (vector / vector.norm(dim=1, keepdim=True).clamp(min=1e-12)).numpy()

    def spread(self) -> np.ndarray:
        """float32[I], 0 to 1."""
        return (1 - self.vector.norm(dim=1)).clamp(0, 1).cpu().numpy()


def fits(needed: int, free: int) -> bool:
    """Whether so many bytes leave enough of what is free on a GPU to activations and the optimiser's state."""
    return needed <= MOST_OF_FREE_MEMORY * free


class _OnTheWay:
    """A batch that is copied to the CPU while the GPU goes on."""

    def __init__(self, unit_BD: Tensor, labels_B: Tensor) -> None:
        asynchronous = unit_BD.device.type == "cuda"  # which makes the copies pinned ones
        self._copies = tuple(tensor.to("cpu", non_blocking=asynchronous) for tensor in (unit_BD, labels_B))
        self._copied = torch.cuda.Event() if asynchronous else None
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(unit_BD.device))

    def arrived(self) -> tuple[Tensor, Tensor]:
        """Embeddings and labels, once they are there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._copies[0], self._copies[1]


class Staleness:
    """Whether the subspaces that a round trains on still hold an identity's nearest ones together.

    Args:
        recall_then: r@k on the means that the subspaces were made of.
        queries: identities sampled; with the seed of `recall_then`, the same ones.
    """

    def __init__(
        self,
        running: RunningMeans,
        subspace_id: np.ndarray,
        config: ReclusterConfig,
        *,
        recall_then: float,
        k: int,
        queries: int,
        seed: int,
    ) -> None:
        self.running, self.subspace_id, self.config = running, subspace_id, config
        self.recall_then, self.k, self.queries, self.seed = recall_then, k, queries, seed

    def look(self, step: int) -> float | None:
        """r@k on the running means of now, where it is time for a look: after every `check_every` steps."""
        if self.config.stale_below is None or step % self.config.check_every:
            return None
        return neighbor_recall(
            self.running.means(), self.subspace_id, k=self.k, queries=self.queries, seed=self.seed
        )

    def in_words(self, recall: float) -> str:
        """What a look has found, and what follows."""
        stale = ": they are stale, the round ends" if self.is_stale(recall) else ""
        return f"r@{self.k} = {recall:.3f} on running means, {self.recall_then:.3f} when the subspaces were made{stale}"

    def is_stale(self, recall: float) -> bool:
        """Whether r@k has fallen below the share of its first value that the settings allow."""
        return self.config.stale_below is not None and recall < self.config.stale_below * self.recall_then

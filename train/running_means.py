"""Identity means that follow the network while it trains, and what they say of the subspaces' age.

Shapes: B images in a batch, I identities, D numbers in an embedding, b identities in a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..mining.clustering.neighbors import neighbor_recall
from ..mining.errors import InputError
from .losses.unit_length import normalized
from .training_config import ReclusterConfig


class RunningMeans:
    """The mean of every identity as an exponential average over its visits in training: no forward pass more.

    A visit with n images x_1..x_n moves the identity's mean vector m to γ m + (1 - γ) Σ x_i / n, with the x_i
    of unit length, as OIM's table (Xiao et al. 2017) moves, but with the length kept: |m| = 1 - spread. An
    identity that is not visited keeps what the last extraction said. Training embeddings are not those of an
    extraction: augmentation, and batch norm's statistics of a batch from one subspace, which remove what the
    subspace has in common (BENCHMARKS.md says what that costs and gains).
    Kept on the CPU: I · D · 4 bytes, 2 GB for a million identities of 512 numbers.

    Args:
        vector: float32[I, D], not of unit length; what a checkpoint keeps.
        momentum: γ.
    """

    def __init__(self, vector: Tensor, momentum: float = 0.5) -> None:
        if not 0 <= momentum < 1:
            raise InputError(f"momentum={momentum} must be at least 0 and below 1")
        self.vector, self.momentum = vector, momentum

    @classmethod
    def beginning(cls, means: Tensor, spread: Tensor, momentum: float = 0.5) -> RunningMeans:
        """From float32[I, D] unit means and float32[I] mean cosine distances of the images to them."""
        return cls(means * (1 - spread.clamp(0, 1))[:, None], momentum)

    @torch.no_grad()
    def update(self, embeddings_BD: Tensor, labels_B: Tensor) -> None:
        """Take in one batch: float[B, D] of any length, and int[B] places among the identities."""
        unit_BD = normalized(embeddings_BD.detach()).to(self.vector)
        label_b, place_B, count_b = labels_B.cpu().unique(return_inverse=True, return_counts=True)
        sum_bD = torch.zeros(len(label_b), unit_BD.shape[1]).index_add_(0, place_B, unit_BD)
        self.vector[label_b] = self.momentum * self.vector[label_b] + (1 - self.momentum) * (
            sum_bD / count_b[:, None]
        )

    def means(self) -> np.ndarray:
        """float32[I, D], unit length; zero where the images of an identity cancel out."""
        length_I1 = self.vector.norm(dim=1, keepdim=True)
        return (self.vector / length_I1.clamp(min=1e-12)).numpy()

    def spread(self) -> np.ndarray:
        """float32[I], 0 to 1."""
        return (1 - self.vector.norm(dim=1)).clamp(0, 1).numpy()


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

    def is_stale(self, recall: float) -> bool:
        """Whether r@k has fallen below the share of its first value that the settings allow."""
        return self.config.stale_below is not None and recall < self.config.stale_below * self.recall_then

"""Cross-batch memory: the embeddings of recent batches as further references of any pair or triplet loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ...mining.device_copies import to_device
from ...mining.errors import InputError
from .loss import EmbeddingLoss, Rung
from .registry import check_settings
from .step_generator import HostCounts
from .unit_length import unit_embeddings


class CrossBatchMemory(HostCounts, EmbeddingLoss):
    """XBM (Wang et al. 2020): `loss` with the batch and the last `memory_size` embeddings as references.

    Embeddings drift slowly once training has settled, so those of some steps ago serve as positives and
    negatives. During the warm-up `loss` sees the batch alone and nothing is kept; from then on each
    training step ends by putting its unit embeddings in place of the oldest. In evaluation mode the memory
    is read but does not move. Anchors, and the batch among the references, carry gradient, so with an empty
    memory this is `loss` itself. The memory and its counters are buffers: a resumed run continues exactly.

    Cost: that of `loss` with B · (B + memory_size) pairs; buffers of memory_size · (D + 2) · 4 bytes.

    >>> from subspace.train.losses import ContrastiveLoss
    >>> loss = CrossBatchMemory(ContrastiveLoss(), embedding_size=2, memory_size=8, warmup_steps=0)
    >>> embeddings, labels = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([0, 1])
    >>> [round(loss(embeddings, labels).item(), 4) for step in range(3)]
    [0.0056, 0.0037, 0.0033]

    Args:
        loss: one with `takes_references`: any pair or triplet loss of this folder but `OfflineTripletLoss`.
        embedding_size: D.
        memory_size: embeddings kept, in float32; some tens of batches, at most what changes little in the meantime.
        warmup_steps: training steps before; 1,000 in the paper, 0 with a trained network.
    """

    takes_references = False

    embedding_memory: Tensor
    """float32[memory_size, D], unit length; row `kept % memory_size` is written next."""
    label_memory: Tensor
    """int64[memory_size]."""
    step: Tensor
    """int64, training steps so far."""
    kept: Tensor
    """int64, embeddings ever put into the memory."""

    def __init__(
        self, loss: EmbeddingLoss, embedding_size: int, memory_size: int = 4096, warmup_steps: int = 1000
    ) -> None:
        super().__init__()
        if not (isinstance(loss, EmbeddingLoss) and loss.takes_references):
            raise InputError(
                f"a memory cannot serve {type(loss).__name__}, which takes no references (ref_emb, ref_labels)"
            )
        if embedding_size < 1:
            raise InputError(f"embedding_size={embedding_size} must be at least 1")
        check_settings("xbm", {"memory_size": memory_size, "warmup_steps": warmup_steps})
        self.loss, self.embedding_size = loss, embedding_size
        self.memory_size, self.warmup_steps = memory_size, warmup_steps
        self._host_labels: Tensor | None = None
        self.register_buffer("embedding_memory", torch.zeros(memory_size, embedding_size))
        self.register_buffer("label_memory", torch.zeros(memory_size, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("kept", torch.zeros((), dtype=torch.int64))

    @property
    def collapsed_value(self) -> float | None:
        """The collapsed value of the wrapped loss."""
        return self.loss.collapsed_value

    @property
    def labels_are_places(self) -> bool:
        """What the wrapped loss says; the memory only hands labels on."""
        return self.loss.labels_are_places

    @property
    def begins_at_means(self) -> bool:
        """What the wrapped loss says."""
        return self.loss.begins_at_means

    def begin_at(self, means_CD: Tensor) -> None:
        """Let the wrapped loss begin there."""
        self.loss.begin_at(means_CD)

    def rungs(self) -> Iterator[Rung]:
        """Yield the rungs of the wrapped loss."""
        yield from self.loss.rungs()

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar of the wrapped loss, then remember the batch.

        Raises:
            InputError: another embedding size than the memory's, NaN or infinity; nothing is kept then.
        """
        filled = min(self.count("kept"), self.memory_size)
        if filled:
            ref_emb = torch.cat([embeddings, self.embedding_memory[:filled]])
            ref_labels = torch.cat([labels.cpu(), self._labels()[:filled]])
            value = self.loss(embeddings, labels, ref_emb=ref_emb, ref_labels=ref_labels, own_start=0)
        else:
            value = self.loss(embeddings, labels)
        self.statistics = self.loss.statistics
        if self.training:
            if self.count("step") >= self.warmup_steps:
                self._remember(embeddings.detach(), labels)
            self.advance("step")
        return value

    def _labels(self) -> Tensor:
        """The labels of the memory on the CPU, where they cost no wait."""
        if self._host_labels is None:
            self._host_labels = self.label_memory.cpu().clone()
        return self._host_labels

    def _remember(self, embeddings_BD: Tensor, labels_B: Tensor) -> None:
        newest_BD = unit_embeddings(embeddings_BD)[-self.memory_size :]
        newest_B = labels_B[-self.memory_size :].to(torch.int64)
        row = (self.count("kept") + torch.arange(len(newest_BD))) % self.memory_size
        self._labels()[row] = newest_B.cpu()
        row = to_device(row, newest_BD.device)
        # What overflowed would stay until it is the oldest.
        newest_BD = newest_BD.to(self.embedding_memory.dtype).nan_to_num(0)
        self.embedding_memory[row] = newest_BD
        self.label_memory[row] = to_device(newest_B, newest_BD.device)
        self.advance("kept", len(newest_BD))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._host_labels = None

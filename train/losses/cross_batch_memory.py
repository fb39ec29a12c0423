"""Cross-batch memory: the embeddings of recent batches as further references of any pair or triplet loss."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from ...mining.errors import InputError
from .batch_ohnm import TripletStatistics
from .unit_length import unit_embeddings


class CrossBatchMemory(nn.Module):
    """XBM (Wang et al. 2020): `loss` with the batch and the last `size` embeddings as references.

    Embeddings drift slowly once training has settled, so those of some steps ago serve as positives and
    negatives. During the warm-up `loss` sees the batch alone and nothing is kept; from then on each
    training step ends by putting its unit embeddings in place of the oldest. In evaluation mode the memory
    is read but does not move. Anchors, and the batch among the references, carry gradient, so with an empty
    memory this is `loss` itself. The memory and its counters are buffers: a resumed run continues exactly.

    Cost: that of `loss` with B · (B + size) pairs; buffers of size · (D + 2) · 4 bytes.

    Args:
        loss: takes `ref_emb`, `ref_labels` and `own_start` as `anchor_pairs` explains them.
        embedding_size: D.
        size: embeddings kept, in float32; some tens of batches, at most what changes little in the meantime.
        warmup_steps: training steps before; 1,000 in the paper, 0 with a trained network.
    """

    embedding_memory: Tensor
    """float32[size, D], unit length; row `kept % size` is written next."""
    label_memory: Tensor
    """int64[size]."""
    step: Tensor
    """int64, training steps so far."""
    kept: Tensor
    """int64, embeddings ever put into the memory."""

    def __init__(
        self, loss: nn.Module, embedding_size: int, size: int = 4096, warmup_steps: int = 1000
    ) -> None:
        super().__init__()
        missing = {"ref_emb", "ref_labels", "own_start"} - set(inspect.signature(loss.forward).parameters)
        if missing:
            raise InputError(
                f"a memory cannot serve {type(loss).__name__}: it does not take {', '.join(sorted(missing))}"
            )
        if embedding_size < 1:
            raise InputError(f"embedding_size={embedding_size} must be at least 1")
        if size < 1:
            raise InputError(f"size={size} must be at least 1")
        if warmup_steps < 0:
            raise InputError(f"warmup_steps={warmup_steps} must not be negative")
        self.loss, self.size, self.warmup_steps = loss, size, warmup_steps
        self.register_buffer("embedding_memory", torch.zeros(size, embedding_size))
        self.register_buffer("label_memory", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("kept", torch.zeros((), dtype=torch.int64))

    @property
    def statistics(self) -> TripletStatistics | None:
        """Those of the wrapped loss."""
        return getattr(self.loss, "statistics", None)

    def forward(self, embeddings_BD: Tensor, labels_B: Tensor) -> Tensor:
        """Return the scalar of the wrapped loss, then remember the batch.

        Raises:
            InputError: another embedding size than the memory's, NaN or infinity; nothing is kept then.
        """
        if embeddings_BD.ndim != 2 or embeddings_BD.shape[1] != self.embedding_memory.shape[1]:
            raise InputError(
                f"embeddings of shape {list(embeddings_BD.shape)}, but the memory holds "
                f"{self.embedding_memory.shape[1]} numbers each"
            )
        filled = min(int(self.kept), self.size)
        if filled:
            ref_emb = torch.cat([embeddings_BD, self.embedding_memory[:filled]])
            ref_labels = torch.cat([labels_B, self.label_memory[:filled]])
            value = self.loss(embeddings_BD, labels_B, ref_emb=ref_emb, ref_labels=ref_labels, own_start=0)
        else:
            value = self.loss(embeddings_BD, labels_B)
        if self.training:
            if int(self.step) >= self.warmup_steps:
                self._remember(embeddings_BD.detach(), labels_B)
            self.step += 1
        return value

    def _remember(self, embeddings_BD: Tensor, labels_B: Tensor) -> None:
        newest_BD = unit_embeddings(embeddings_BD)[-self.size :]
        row = (self.kept + torch.arange(len(newest_BD), device=self.kept.device)) % self.size
        self.embedding_memory[row] = newest_BD.to(self.embedding_memory.dtype)
        self.label_memory[row] = labels_B[-self.size :].to(self.label_memory)
        self.kept += len(newest_BD)

"""Online instance matching: identities as a table of running means, unlabelled ones as a queue.

Shapes: B images in a batch, L of them labelled, D numbers in an embedding, C labelled identities, U places
in the queue, M = C + U.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.device_copies import to_device
from ...mining.errors import InputError
from .cosine_head import checked_labels
from .loss import EmbeddingLoss
from .registry import check_settings
from .step_generator import HostCounts
from .unit_length import unit_embeddings

UNLABELLED = -1


class OIMLoss(HostCounts, EmbeddingLoss):
    """Online instance matching, `loss(embeddings, labels)` with label -1 for images without identity.

    The mean over the labelled images of -log p_t, where with the unit vectors v_i of the table and u_k of the
    queue p_i = exp(v_i·x / tau) / (sum_j exp(v_j·x / tau) + sum_k exp(u_k·x / tau)) (Xiao et al. 2017, CVPR).
    In train mode, once the loss is known, every labelled image moves its row, v_t <- normalise(gamma·v_t +
    (1 - gamma)·x), in the order of the batch, and the unlabelled ones enter the queue over the oldest.

    Nothing here is learned by gradient. A batch without labelled images has loss 0 and a gradient of zeros.
    Cost: two [B, D] x [D, M] products and [B, M] tables, of the queue only what is filled; only [B, D] waits for the
    backward pass.

    Two details that the paper leaves open: places of the queue never written do not count, and the table
    begins as `start` says.

    >>> loss = OIMLoss(num_classes=4, embedding_size=4, temperature=0.5)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.3408

    Args:
        num_classes: C; labels are 0..C-1, or -1.
        embedding_size: D.
        queue_size: U; 5,000. 0 ignores unlabelled images.
        temperature: tau; 0.1, smaller is sharper.
        momentum: gamma, the old row's share; 0.5.
        start: 'random' unit vectors, or 'zeros' until an identity is first seen.
        seed: of the random table.
    """

    takes_references = False

    table: Tensor
    queue: Tensor
    pointer: Tensor
    fill: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        queue_size: int = 5000,
        temperature: float = 0.1,
        momentum: float = 0.5,
        start: Literal["random", "zeros"] = "random",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise InputError(f"OIMLoss needs at least one identity, got {num_classes}")
        if embedding_size < 1:
            raise InputError(f"OIMLoss needs an embedding_size of at least 1, got {embedding_size}")
        check_settings(
            "oim",
            {"queue_size": queue_size, "temperature": temperature, "momentum": momentum, "start": start},
        )
        self.temperature, self.momentum = temperature, momentum
        self.num_classes, self.embedding_size, self.queue_size = num_classes, embedding_size, queue_size
        table = torch.zeros(num_classes, embedding_size)
        if start == "random":
            table.normal_(generator=torch.Generator().manual_seed(seed))
        self.register_buffer("table", functional.normalize(table, dim=1))
        self.register_buffer("queue", torch.zeros(queue_size, embedding_size))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fill", torch.zeros((), dtype=torch.int64))

    @property
    def labels_are_places(self) -> bool:
        """True: a label is its identity's row of the table."""
        return True

    def begin_at(self, means_CD: Tensor) -> None:
        """Take the identity means, float[C, D], as the table."""
        self.table.copy_(means_CD)

    def class_vectors(self, labels_B: Tensor) -> Tensor | None:
        """Rows of the table."""
        return self.table[labels_B.clamp(min=0)]

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss, and in train mode update table and queue.

        Raises:
            InputError: NaN or infinity among the embeddings, or a label outside -1..C-1.
        """
        unit_BD = unit_embeddings(embeddings)
        labels_B = checked_labels(labels, self.num_classes, lowest=UNLABELLED)
        fixed_BD = unit_BD.detach()
        value, gradient_BD = self._value_and_gradient(fixed_BD, to_device(labels_B, unit_BD.device))
        if self.training:
            labels_B = labels_B.cpu()  # what goes where is found there, since a GPU would be waited for
            self._update_table(fixed_BD, labels_B)
            self._push(fixed_BD[to_device((labels_B == UNLABELLED).nonzero().squeeze(1), unit_BD.device)])
        # The backward pass would find table and queue already changed, so the gradient is taken before and
        # attached here; the term itself is exactly 0.
        return value + ((unit_BD - fixed_BD) * gradient_BD).sum()

    @torch.no_grad()
    def _value_and_gradient(self, unit_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient (sum_i p_i·w_i - v_t) / (tau·L) with w_i over table and queue."""
        table_CD = self.table.to(unit_BD.dtype)
        # in a run nothing is filled: every image has its label
        filled_UD = self.queue[: self.count("fill")].to(unit_BD.dtype)
        logits_BM = torch.cat([unit_BD @ table_CD.T, unit_BD @ filled_UD.T], dim=1) / self.temperature
        log_p_BM = functional.log_softmax(logits_BM, dim=1)
        labelled_B = (labels_B != UNLABELLED).to(unit_BD.dtype)
        share_B = labelled_B / labelled_B.sum().clamp(min=1)
        target_B1 = labels_B.clamp(min=0)[:, None]
        value = -(log_p_BM.gather(1, target_B1).squeeze(1) * share_B).sum()
        error_BM = log_p_BM.exp()
        error_BM.scatter_add_(1, target_B1, -torch.ones_like(share_B)[:, None])
        pull_BD = error_BM[:, : self.num_classes] @ table_CD + error_BM[:, self.num_classes :] @ filled_UD
        return value, pull_BD * (share_B / self.temperature)[:, None]

    @torch.no_grad()
    def _update_table(self, unit_BD: Tensor, labels_B: Tensor) -> None:
        """Move the rows as a loop over the images would: all first images of an identity, all second ones, ..."""
        label_B, order_B = labels_B.sort(stable=True)
        labelled = label_B != UNLABELLED
        label_L, order_L = label_B[labelled], order_B[labelled]
        turn_L = torch.arange(len(label_L)) - torch.searchsorted(label_L, label_L)
        by_turn_L = turn_L.argsort(stable=True)
        counts = turn_L.bincount().tolist()
        images_L, rows_L = (to_device(of_L[by_turn_L], unit_BD.device) for of_L in (order_L, label_L))
        for images, rows in zip(images_L.split(counts), rows_L.split(counts), strict=True):
            moved = self.momentum * self.table[rows] + (1 - self.momentum) * unit_BD[images].to(
                self.table.dtype
            )
            finite = moved.isfinite().all(dim=1, keepdim=True)  # what overflowed would stay for good
            self.table[rows] = torch.where(finite, functional.normalize(moved, dim=1), self.table[rows])

    @torch.no_grad()
    def _push(self, unit_ND: Tensor) -> None:
        """Write N unlabelled vectors at the pointer, around the end; of more than U, the last U remain."""
        count, pointer, fill = len(unit_ND), self.count("pointer"), self.count("fill")
        if not (self.queue_size and count):
            return
        newest_ND = unit_ND[-self.queue_size :]
        first = count - len(newest_ND)
        places = (pointer + torch.arange(first, count, device=unit_ND.device)) % self.queue_size
        # what overflowed would stay until it is the oldest
        self.queue[places] = newest_ND.to(self.queue.dtype).nan_to_num(0, 0, 0)
        self.advance("pointer", (pointer + count) % self.queue_size - pointer)
        self.advance("fill", min(fill + count, self.queue_size) - fill)

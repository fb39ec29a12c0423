"""The network's forward and backward pass over this process's share of a batch, at once or in chunks.

Losses that compare the images of a batch need all embeddings at once, but not all activations. With chunks
(gradient caching: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup")
a first pass embeds chunk after chunk and keeps nothing; the loss then gives the gradient of every embedding;
a second pass embeds each chunk again, with the same dropout, and takes the gradient on to the weights. For a network in
which no image sees another, the result is the gradient of one pass exactly, for up to a third more time and the
activations of one chunk.

Batch norm sees one chunk at a time (of all processes together), so its moments depend on the number of chunks. A chunk takes every n-th image, not n
neighbours, so that each holds images of all identities and its moments are close to those of the batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ..mining.randomness import derived_seed, seed_torch
from . import distributed
from .batch_norm import running_statistics_move, synchronize
from .devices import PLAIN, Arithmetic, autocast
from .networks.backbone import Backbone


class NetworkPass:
    """Runs `network` in training, over all processes where there are several.

    Args:
        network: on `device` already; its batch norms are replaced where they are synchronised.
        sync_batch_norm: take the moments of batch norm over all processes.
        chunk_size: images at a time; None: all.
        compiled: compile the network with torch.compile, in place.
    """

    def __init__(
        self,
        network: Backbone,
        device: torch.device,
        *,
        arithmetic: Arithmetic = PLAIN,
        sync_batch_norm: bool = True,
        chunk_size: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.network, self.device = network, device
        self.arithmetic, self.chunk_size = arithmetic, chunk_size
        if sync_batch_norm and distributed.count() > 1:
            synchronize(network, device)
        if arithmetic.channels_last:
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if compiled:
            network.compile()
        self.trainable_has_changed()

    def trainable_has_changed(self) -> None:
        """Wrap the network anew: DistributedDataParallel fixes at the start what it averages."""
        self._wrapped: Backbone | DistributedDataParallel = self.network
        if distributed.count() > 1 and any(p.requires_grad for p in self.network.parameters()):
            # Looking for unused parameters keeps the buckets, and with them the order of sums, as they are at
            # the start; without, they are cut anew after one step, and a resumed run would round otherwise.
            self._wrapped = DistributedDataParallel(
                self.network,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                find_unused_parameters=True,
            )

    def forward(self, images: Tensor, planned: int, readable: int, seed: int) -> Tensor:
        """Embed uint8[b, 3, S, S]: float32[b, D], whose gradient `backward` takes on.

        Args:
            planned: images of the whole batch, unreadable ones counted, so that all processes cut alike.
            readable: images of the whole batch that could be read.
            seed: of dropout; with the number of the chunk and of the process where there are several.
        """
        chunks = self._chunk_count(planned, readable)
        self._chunks = [images[i::chunks] for i in range(chunks)]
        self._seeds = [_dropout_seed(seed, i) for i in range(chunks)]
        if chunks == 1:
            self._cached = None
            return self._embed(self._wrapped, 0)
        with torch.no_grad(), running_statistics_move(self.network, 0):
            parts = [self._embed(self.network, i) for i in range(chunks)]
        self._cached = parts[0].new_empty((len(images), parts[0].shape[1]))
        for i, part in enumerate(parts):
            self._cached[i::chunks] = part
        return self._cached.requires_grad_()

    def _chunk_count(self, planned: int, readable: int) -> int:
        if self.chunk_size is None:
            return 1
        W = distributed.count()
        chunks = -(-planned // (W * self.chunk_size))
        # Batch norm wants two images: the process that has most of them has two for each of so many chunks.
        return max(1, min(chunks, readable // (2 * W)))

    def backward(self) -> None:
        """After the loss's own backward pass: the rest of the way to the weights, where that stopped at the embeddings."""
        if self._cached is None:
            return
        slopes, n = self._cached.grad, len(self._chunks)
        if slopes is None:
            slopes = torch.zeros_like(self._cached)
        with running_statistics_move(self.network, n):
            for i in range(n):
                with self._no_averaging() if i < n - 1 else nullcontext():
                    self._embed(self._wrapped, i).backward(slopes[i::n])
        self._cached = None

    def _embed(self, network: torch.nn.Module, chunk: int) -> Tensor:
        seed_torch(self._seeds[chunk], self.device)
        images = self._chunks[chunk].to(self.device, non_blocking=True)
        with autocast(self.device, self.arithmetic.precision):
            return network(images.contiguous(memory_format=self.arithmetic.memory_format))

    def _no_averaging(self) -> AbstractContextManager[None]:
        """Gradients of all chunks but the last stay here; the last sends the sum."""
        wrapped = self._wrapped
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def _dropout_seed(seed: int, chunk: int) -> int:
    """`seed` itself for the first chunk of the first process."""
    place = (distributed.rank(), chunk)
    return derived_seed(seed, "part", *place) if any(place) else seed

"""Image embeddings a block of whole identities at a time, and sums over the images of each.

Shapes: n images, I identities; in a block b images of i identities; D numbers in an embedding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..clustering.on_device import as_tensor
from ..errors import InputError

IMAGES = 65_536
"""In a block: 134 MB at D=512. An identity of more is a block of its own."""


@dataclass(frozen=True)
class IdentityBlock:
    """Some whole identities with all of their images."""

    images: slice
    """Rows of the images."""
    identities: slice
    """Places of the identities."""
    count: Tensor
    """int64[i], images of each."""
    embeddings: Tensor
    """float32[b, D]."""

    def sums(self, values: Tensor) -> Tensor:
        """Sums over the images of each identity: float[i] or float[i, D] of float[b] or float[b, D]."""
        return reduced(values, "sum", self.count)

    def spread_out(self, values: Tensor) -> Tensor:
        """What is said of each identity, for each of its images: [b, ...] of [i, ...]."""
        return values.repeat_interleave(self.count, dim=0, output_size=len(self.embeddings))


class IdentityBlocks:
    """Unit embeddings sorted by identity, to be gone through again and again.

    Args:
        embeddings: anything with `shape` (n, D) and slices of rows: an array, a memory map, a `MeanTable`.
        identity_id: int[n], ascending.
        device: where the blocks lie.
        images: at most so many in a block, but for a larger identity.

    Raises:
        InputError: no images, unequal lengths, or identities out of order.

    Example:
        >>> blocks = IdentityBlocks(np.eye(3, dtype=np.float32), np.array([4, 4, 7]))
        >>> blocks.identity_id.tolist(), blocks.count.tolist()
        ([4, 7], [2, 1])
        >>> [block.sums(block.embeddings).tolist() for block in blocks]
        [[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    """

    def __init__(
        self,
        embeddings: Any,
        identity_id: np.ndarray,
        device: str | torch.device = "cpu",
        images: int = IMAGES,
    ) -> None:
        if len(embeddings.shape) != 2 or 0 in embeddings.shape or len(identity_id) != embeddings.shape[0]:
            raise InputError(
                f"embeddings of shape {tuple(embeddings.shape)} need as many identities, not {len(identity_id)}"
            )
        if (np.diff(identity_id) < 0).any():
            raise InputError("embeddings must be sorted by identity_id")
        self._embeddings, self.device = embeddings, torch.device(device)
        starts = np.flatnonzero(np.concatenate(([True], identity_id[1:] != identity_id[:-1])))
        self.identity_id, self.dimensions = identity_id[starts], int(embeddings.shape[1])
        """int[I], ascending."""
        self.offset = np.append(starts, len(identity_id))
        """int64[I + 1]: identity i owns the rows offset[i]:offset[i + 1]."""
        self._cuts = _cuts(self.offset, images)

    @property
    def count(self) -> np.ndarray:
        """Images of each identity, int64[I]."""
        return np.diff(self.offset)

    @property
    def images(self) -> int:
        """n."""
        return int(self.offset[-1])

    def __iter__(self) -> Iterator[IdentityBlock]:
        for first, last in self._cuts:
            yield self._block(first, last)

    def parts(self, identities: int) -> Iterator[IdentityBlock]:
        """Blocks of about equally many identities, at most so many, however many images they have."""
        borders = np.linspace(0, len(self.identity_id), -(-len(self.identity_id) // identities) + 1)
        cuts = borders.round().astype(int).tolist()
        for first, last in itertools.pairwise(cuts):
            yield self._block(first, last)

    def _block(self, first: int, last: int) -> IdentityBlock:
        rows = slice(int(self.offset[first]), int(self.offset[last]))
        block = as_tensor(np.ascontiguousarray(self._embeddings[rows], np.float32))
        count = torch.from_numpy(np.diff(self.offset[first : last + 1]))
        return IdentityBlock(rows, slice(first, last), count.to(self.device), block.to(self.device))

    def rows(self, numbers: np.ndarray) -> Tensor:
        """The embeddings of these images, ascending, a block read at a time: float32[len(numbers), D]."""
        found = np.empty((len(numbers), self.dimensions), np.float32)
        for first, last in self._cuts:
            start, stop = int(self.offset[first]), int(self.offset[last])
            begin, end = np.searchsorted(numbers, (start, stop))
            if begin < end:
                found[begin:end] = np.asarray(self._embeddings[start:stop])[numbers[begin:end] - start]
        return torch.from_numpy(found).to(self.device)


def reduced(values: Tensor, how: Literal["sum", "max"], count: Tensor) -> Tensor:
    """Sums or maxima over the images of each identity, of which `count` images are; nothing waits for a GPU."""
    # Unchecked: the check of the lengths would wait for the device each time.
    return torch.segment_reduce(values, how, lengths=count, axis=0, unsafe=True)


def _cuts(offset: np.ndarray, images: int) -> list[tuple[int, int]]:
    """(first identity, the one after the last) of each block."""
    cuts, first = [], 0
    while first < len(offset) - 1:
        last = int(np.searchsorted(offset, offset[first] + images, side="right")) - 1
        cuts.append((first, max(last, first + 1)))
        first = cuts[-1][1]
    return cuts

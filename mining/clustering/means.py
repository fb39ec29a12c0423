"""Identity means in one streaming pass over image embeddings that arrive sorted by identity.

Shapes: n images in a block, D numbers in an embedding, I identities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class IdentityMeans:
    """Means of a run of consecutive identities.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import identity_means
        >>> embeddings = np.array([[1, 0], [0, 1]], np.float32)
        >>> [means] = identity_means([(np.array([3, 3]), embeddings)])
        >>> print(means.identity_id, means.images, means.spread.round(2))
        [3] [2] [0.29]
    """

    identity_id: np.ndarray
    """int32[I], ascending."""
    images: np.ndarray
    """int32[I], images averaged."""
    mean: np.ndarray
    """float32[I, D], unit length (zero where the images cancel out exactly)."""
    spread: np.ndarray
    """float32[I], mean cosine distance of the images to their mean, 0 (all equal) to 1."""

    def __len__(self) -> int:
        return len(self.identity_id)

    @classmethod
    def joined(cls, runs: Iterable[IdentityMeans], most: int, dimensions: int) -> IdentityMeans:
        """Runs of `most` identities at most as one, in arrays that are there from the start.

        Small arrays that were kept one by one would lie between the large ones of a network, whose room could then not be
        used again: 4 GB in place of 0.4.

        >>> runs = identity_means([(np.array([3, 5]), np.eye(2, dtype=np.float32))])
        >>> IdentityMeans.joined(runs, most=20_000, dimensions=2).identity_id.tolist()
        [3, 5]
        """
        identity_id, images = np.empty(most, np.int32), np.empty(most, np.int32)
        mean, spread = np.empty((most, dimensions), np.float32), np.empty(most, np.float32)
        end = 0
        for run in runs:
            start, end = end, end + len(run)
            identity_id[start:end], images[start:end] = run.identity_id, run.images
            mean[start:end], spread[start:end] = run.mean, run.spread
        return cls(identity_id[:end], images[:end], mean[:end], spread[:end])


def identity_means(blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[IdentityMeans]:
    """Yield the means of the identities that each block completes.

    An identity is represented by the normalised mean of its images' embeddings (Wang, Zhang, Lan 2017,
    section 3). With s the sum of n unit embeddings x_i, the mean direction is s/|s| and the spread is
    1/n Σ (1 - x_i·s/|s|) = 1 - |s|/n, so one pass and one float64 sum per identity give both. Memory is
    one block and one open identity, whatever the number of images.

    Args:
        blocks: (identity_id int[n] ascending within and across blocks, embeddings float[n, D] of unit length).

    Raises:
        InputError: an embedding is not finite, or the identities are out of order.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import identity_means
        >>> embeddings = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> blocks = [(np.array([3, 3, 5]), embeddings)]  # two images of identity 3, one of 5
        >>> print(np.concatenate([means.mean for means in identity_means(blocks)]).round(2))
        [[0.71 0.71]
         [1.   0.  ]]
    """
    open_id: int | None = None
    open_sum = np.empty(0)
    open_count = 0
    for identity_id, embeddings in blocks:
        if len(identity_id) == 0:
            continue
        _check(identity_id, embeddings, open_id)
        starts = np.flatnonzero(np.r_[True, identity_id[1:] != identity_id[:-1]])
        ids = identity_id[starts]
        sums = np.add.reduceat(embeddings.astype(np.float64), starts, axis=0)
        counts = np.diff(np.r_[starts, len(identity_id)])
        if open_id is not None and open_id == ids[0]:
            sums[0] += open_sum
            counts[0] += open_count
        elif open_id is not None:
            ids, counts = np.r_[open_id, ids], np.r_[open_count, counts]
            sums = np.concatenate((open_sum[None], sums))
        open_id, open_sum, open_count = int(ids[-1]), sums[-1], int(counts[-1])
        if len(ids) > 1:
            yield _finish(ids[:-1], sums[:-1], counts[:-1])
    if open_id is not None:
        yield _finish(np.array([open_id]), open_sum[None], np.array([open_count]))


def _check(identity_id: np.ndarray, embeddings: np.ndarray, open_id: int | None) -> None:
    finite = np.asarray(np.isfinite(embeddings).all(axis=1))
    if not finite.all():
        raise InputError(
            f"{np.sum(~finite)} of {len(finite)} embeddings hold NaN or infinity (first at identity "
            f"{identity_id[np.argmin(finite)]}); the network has diverged: train again with a lower lr"
        )
    if np.any(np.diff(identity_id) < 0) or (open_id is not None and identity_id[0] < open_id):
        raise InputError("embeddings must arrive sorted by identity_id")


def _finish(ids: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> IdentityMeans:
    length = np.linalg.norm(sums, axis=1)
    mean = np.divide(sums, length[:, None], out=np.zeros_like(sums), where=length[:, None] > 1e-12)
    spread = np.clip(1.0 - length / counts, 0.0, 1.0)
    return IdentityMeans(
        ids.astype(np.int32), counts.astype(np.int32), mean.astype(np.float32), spread.astype(np.float32)
    )

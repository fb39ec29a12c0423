"""Nearest identities, exactly: inside subspaces (for groups) and over all identities (for recall).

Shapes: I identities, D numbers in a mean, k neighbours. All means are unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..randomness import generator
from .mean_blocks import MeanBlocks
from .on_device import as_tensor, blocks_on
from .search import Found, joined, nearest_rows, without_itself

QUERIES = 32_768
"""Queries of one call; a multiple of FAISS's own blocks, so that results are those of one call for all."""
RESIDENT = 0.5
"""Share of a GPU's free memory that all means together may take there; else they go there a subspace at a time."""


def nearest_in_subspace(
    means_ID: np.ndarray,
    subspace_id: np.ndarray,
    k: int,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the k nearest other identities of every identity among its own subspace, nearest first.

    Exact, and cheap because subspaces are small: N·n·D multiply-adds instead of N²·D.

    Args:
        means_ID: float32[I, D].
        subspace_id: int32[I].
        k: neighbours wanted; a subspace of fewer than k + 1 identities pads with -1.
        device: what searches, such as 'cpu' or 'cuda'.
        progress: called with the number of identities of each subspace as it has been searched, at most I in all.

    Returns:
        int32[I, k], row numbers into `means_ID`.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import nearest_in_subspace
        >>> angle = np.array([0, 0.1, 0.3, 0.4])
        >>> means = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> nearest_in_subspace(means, np.array([0, 1, 1, 1]), k=2).tolist()
        [[-1, -1], [2, 3], [3, 1], [2, 1]]
    """
    neighbors_Ik = np.full((len(means_ID), k), -1, np.int32)
    by_subspace = neighbors_by_subspace(means_ID, subspace_id, k, device=device, progress=progress)
    for members, neighbor_nk, _ in by_subspace:
        neighbors_Ik[members, : neighbor_nk.shape[1]] = neighbor_nk
    return neighbors_Ik


def neighbors_by_subspace(
    means_ID: np.ndarray,
    subspace_id: np.ndarray,
    k: int,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the members of each subspace of two or more with their k nearest others among them.

    Exact; the CPU holds the means of one subspace, so `means_ID` may be a memory map. With one subspace for all it
    is the whole set's exact search, in blocks all the same.

    Args:
        progress: called with numbers of identities as they have been searched.

    Yields:
        (int64[n] row numbers into `means_ID`, int64[n, min(k, n-1)] those of the neighbours, nearest first,
        float32[n, min(k, n-1)] their cosines).
    """
    where = torch.device(device)
    resident = as_tensor(means_ID).to(where) if _fits(means_ID, where) else None
    order = np.argsort(subspace_id, kind="stable")
    borders = np.flatnonzero(np.diff(subspace_id[order])) + 1
    for members in np.split(order, borders):
        if len(members) > 1:
            means_nD = (
                as_tensor(np.ascontiguousarray(means_ID[members])).to(where)
                if resident is None
                else resident[torch.from_numpy(members).to(where)]
            )
            found = _nearest(means_nD, min(k + 1, len(members)), progress)
            similarity, place = without_itself(found, torch.arange(len(members), device=where), k)
            yield members, members[place.cpu().numpy()], similarity.cpu().numpy()


def _nearest(means_nD: torch.Tensor, k: int, progress: Callable[[int], None] | None) -> Found:
    """The k nearest of each row among all, `QUERIES` of a large subspace at a time, so that it is seen how far it is."""
    found: list[Found] = []
    for queries in means_nD.split(QUERIES):
        found.append(nearest_rows(queries, means_nD, k))
        if progress:
            progress(len(queries))
    similarity, row = (torch.cat(column) for column in zip(*found, strict=True))
    return similarity, row


def _fits(means_ID: np.ndarray, device: torch.device) -> bool:
    return device.type == "cuda" and means_ID.nbytes <= RESIDENT * torch.cuda.mem_get_info(device)[0]


@dataclass(frozen=True)
class SampledNeighbors:
    """The k nearest identities of some, exactly: what subspaces are judged by."""

    sample: np.ndarray
    """int64[Q], row numbers, ascending."""
    found: np.ndarray
    """int64[Q, k], those of the nearest others."""

    def recall(self, subspace_id: np.ndarray, second_id: np.ndarray | None = None) -> float:
        """r@k: the share of the k nearest that share a subspace with the identity.

        Args:
            subspace_id: int[I].
            second_id: int[I], another subspace that an identity belongs to, -1 for none.
        """
        together = self._together(subspace_id, second_id)
        return float(together.mean()) if together.size else 1.0

    def gain(self, subspace_id: np.ndarray) -> float:
        """How many times as often an anchor meets one of its k nearest in a batch of its subspace as in a random one.

        Σ over anchors of the share that is in its subspace, times I / size: r·M where all M are equal. (Uneven
        subspaces have a higher r for no gain: the large ones hold much of everything.)
        """
        together = self._together(subspace_id, None)
        if not together.size:
            return 1.0
        size = np.bincount(subspace_id)[subspace_id[self.sample]]
        return float(np.mean(together.mean(axis=1) * len(subspace_id) / size))

    def _together(self, subspace_id: np.ndarray, second_id: np.ndarray | None) -> np.ndarray:
        homes = [subspace_id] if second_id is None else [subspace_id, second_id]
        together = np.zeros(self.found.shape, bool)
        for ours in homes:
            for theirs in homes:
                together |= (ours[self.sample][:, None] == theirs[self.found]) & (theirs[self.found] >= 0)
        return together


def sampled_neighbors(
    means: Any,
    *,
    k: int = 10,
    queries: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> SampledNeighbors:
    """Find the exact nearest identities of a seeded sample, in one pass over blocks: queries · I · D multiply-adds.

    Args:
        means: whatever `MeanBlocks` takes, of I unit vectors.
        k: fewer where there are not so many others.
        device: what searches, such as 'cpu' or 'cuda'.
        progress: called with the number of identities of each block as it has been searched.
    """
    blocks, where = MeanBlocks(means), torch.device(device)
    total = blocks.shape[0]
    k = min(k, total - 1)
    sample = np.sort(generator(seed, "neighbor_recall").permutation(total)[:queries])
    asked, own = torch.from_numpy(blocks.rows(sample)).to(where), torch.from_numpy(sample).to(where)
    found = asked.new_empty(len(sample), 0), own.new_empty(len(sample), 0)
    for start, rows in blocks_on(blocks, where) if k else ():
        # Itself and k others are k + 1; so many of every block are enough.
        similarity, row = nearest_rows(asked, rows, min(k + 1, len(rows)))
        found = joined(found, (similarity, row + start), k + 1)
        if progress:
            progress(len(rows))
    if k:
        found = without_itself(found, own, k)
    return SampledNeighbors(sample, found[1].cpu().numpy())


def neighbor_recall(
    means: Any, subspace_id: np.ndarray, *, k: int = 10, queries: int = 1000, seed: int = 0
) -> float:
    """Return r@k: the share of true k nearest identities that lie in the same subspace as the identity.

    Subspace batches meet an anchor's look-alikes r·M times more often than random batches do (M = number
    of equal subspaces). Exact neighbours over all I identities for a seeded sample of `queries`.

    Args:
        means: whatever `MeanBlocks` takes, of I unit vectors.
        subspace_id: int[I].

    Example:
        >>> import numpy as np
        >>> from subspace.mining import neighbor_recall
        >>> angle = np.array([0, 0.1, 0.3, 0.4])
        >>> means = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> neighbor_recall(means, np.array([0, 0, 1, 1]), k=1), neighbor_recall(means, np.array([0, 1, 0, 1]), k=1)
        (1.0, 0.0)
    """
    return sampled_neighbors(means, k=k, queries=queries, seed=seed).recall(subspace_id)

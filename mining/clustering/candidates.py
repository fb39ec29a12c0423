"""Candidates of identities: where each would go, and lists of subspaces for those who have a choice.

Shapes: N identities, n of them with a choice, c candidates of such a one.

Most identities are far nearer to one subspace than to any other, at any price that will be asked. So the pass over all
identities keeps one subspace for those, and c only for those near a border.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Candidates:
    """The best subspace of N identities, and lists of those who have a choice; tensors of one device."""

    id: torch.Tensor
    """int32[N], the subspace of the best bid."""
    similarity: torch.Tensor
    """float32[N], to its centroid."""
    asked: torch.Tensor
    """int64[n], row numbers of those with a choice, ascending."""
    id_nc: torch.Tensor
    """int32[n, c], their candidates, best bid first."""
    similarity_nc: torch.Tensor
    """float32[n, c]; -inf for an empty place."""

    @classmethod
    def of_all(cls, id_Nc: torch.Tensor, similarity_Nc: torch.Tensor) -> Candidates:
        """Everybody has a choice."""
        everybody = torch.arange(len(id_Nc), device=id_Nc.device)
        return cls(id_Nc[:, 0], similarity_Nc[:, 0], everybody, id_Nc, similarity_Nc)

    @classmethod
    def joined(cls, blocks: list[tuple[int, Candidates]]) -> Candidates:
        """One after the other; each comes with the number of its first row."""
        columns = [
            (part.id, part.similarity, part.asked + start, part.id_nc, part.similarity_nc)
            for start, part in blocks
        ]
        return cls(*(torch.cat(column) for column in zip(*columns, strict=True)))

    def nearest(self) -> torch.Tensor:
        """The similarity to the nearest candidate, float32[N]: at prices it may be that of another than the best bid."""
        nearest = self.similarity.clone()
        if len(self.asked):
            nearest[self.asked] = self.similarity_nc.amax(1)
        return nearest

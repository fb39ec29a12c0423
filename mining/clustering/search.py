"""The k nearest rows, exactly, by cosine: FAISS on the CPU, blocks of one product and `topk` on a GPU.

Shapes: q queries, n rows, D numbers in each, k neighbours. All are unit vectors.
"""

from __future__ import annotations

import faiss
import torch

from ..block_sizes import similarities_at_a_time
from .on_device import IN_A_CORES_CACHE, on_host

Found = tuple[torch.Tensor, torch.Tensor]
"""`similarity_qk` float32 and `row_qk` int64."""


def nearest_rows(queries_qD: torch.Tensor, rows_nD: torch.Tensor, k: int) -> Found:
    """The k nearest rows of every query, nearest first, of equally near ones the lower row; where the queries are.

    Args:
        k: at most n.
    """
    if on_host(queries_qD):
        similarity, row = faiss.knn(queries_qD.numpy(), rows_nD.numpy(), k, metric=faiss.METRIC_INNER_PRODUCT)
        return in_order(torch.from_numpy(similarity), torch.from_numpy(row), k)
    at_a_time = similarities_at_a_time(queries_qD.device, IN_A_CORES_CACHE)
    columns = min(len(rows_nD), max(k, at_a_time // min(len(queries_qD), 4096)))
    found = [
        _of_part(queries, rows_nD, k, columns) for queries in queries_qD.split(max(1, at_a_time // columns))
    ]
    similarity, row = (torch.cat(column) for column in zip(*found, strict=True))
    return similarity, row


def _of_part(queries_qD: torch.Tensor, rows_nD: torch.Tensor, k: int, columns: int) -> Found:
    best = queries_qD.new_empty(len(queries_qD), 0)
    row = torch.empty(len(queries_qD), 0, dtype=torch.int64, device=queries_qD.device)
    for start in range(0, len(rows_nD), columns):
        part = rows_nD[start : start + columns]
        similarity, place = (queries_qD @ part.T).topk(min(k, len(part)), dim=1)
        best, row = joined((best, row), (similarity, place + start), k)
    return best, row


def joined(found: Found, more: Found, k: int) -> Found:
    """The k best of both."""
    similarity, row = (torch.cat(pair, dim=1) for pair in zip(found, more, strict=True))
    return in_order(similarity, row, k)


def in_order(similarity_qw: torch.Tensor, row_qw: torch.Tensor, k: int) -> Found:
    """The k best, most similar first, of equally similar ones the lower row."""
    row, place = row_qw.sort(dim=1, stable=True)
    similarity, by = similarity_qw.gather(1, place).sort(dim=1, stable=True, descending=True)
    return similarity[:, :k], row.gather(1, by)[:, :k]


def without_itself(found: Found, own_q: torch.Tensor, k: int) -> Found:
    """At most k others, from k + 1 found; where its exact copies displaced the query itself, the last one goes."""
    similarity, row = found
    itself = row == own_q[:, None]
    return in_order(similarity.masked_fill(itself, -torch.inf), row, min(k, row.shape[1] - 1))

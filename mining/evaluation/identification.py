"""Rank-k identification: is a probe's own identity among the k gallery images most similar to it?

Shapes: P probes; I identities with probes; K ranks asked for; R replicates; B rows of a tile.
Images of one identity succeed and fail together, so 95 % intervals resample identities instead of probes:
Bolle, Ratha, Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap" (CVIU 2004).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .intervals import Metric, percentile_interval
from .mated_probes import BLOCK, TIE, MatedProbes
from .similarity_counts import counts_at_least


def rank_names(ks: Sequence[int]) -> tuple[str, ...]:
    """Names of Rank-k metrics, such as `Rank-5`; an InputError if a k is below 1."""
    if not ks or min(ks) < 1:
        raise InputError(f"ks is {tuple(ks)}; give ranks of 1 or more")
    return tuple(f"Rank-{k}" for k in ks)


def rank_k_rates(
    mated: MatedProbes,
    ks: Sequence[int] = (1, 5),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int | None = None,
    device: str = "cpu",
) -> tuple[Metric, ...]:
    """Rank-k: the share of probes whose own identity is among the k most similar of gallery and distractors.

    rank = 1 + |{other items: similarity >= that of the mate}|, so ties count against the probe and a
    collapsed network scores 0. The value is the plain mean over probes; an identity with many probes weighs
    more, so cap `probes_per_identity`. Each bootstrap replicate draws the identities with probes anew; the
    gallery stays whole. With fewer than 20 identities the interval covers the truth 92 % of the time instead
    of 95, and it has no width where all identities do equally well.

    Cost: one P x (G + X) GEMM and a comparison on top. Memory: the embeddings, on a processor below 20 MB beside
    them; a GPU holds them all, and up to 1 GB. Source: the MegaFace benchmark (CVPR 2016).

    >>> rows = np.eye(4)
    >>> mated = MatedProbes.match(rows, range(4), rows[[0, 1, 2, 0]], range(4))  # the last is taken for 0
    >>> [(metric.name, metric.value) for metric in rank_k_rates(mated, ks=(1, 4))]
    [('Rank-1', 0.75), ('Rank-4', 1.0)]

    Args:
        mated: embeddings and identities, checked.
        ks: each 1 or more. bootstrap: replicates. seed: of the bootstrap.
        block: rows and columns of a tile; None: what suits the device. No effect on ranks but for similarities at TIE
            from the mate's.
        device: of the product.

    Raises:
        InputError: a k or a number of replicates below 1.
    """
    names, weights = rank_names(ks), mated.identity_weights(bootstrap, seed)
    rank = probe_ranks(mated, block=block, device=device)
    probes_I = np.bincount(mated.owner)
    hits_KI = np.stack([np.bincount(mated.owner, weights=rank <= k) for k in ks])
    rate_RK = np.array([hits_KI @ weight_I / (probes_I @ weight_I) for weight_I in weights])
    return tuple(
        percentile_interval(name, float(np.mean(rank <= k)), rate_RK[:, i])
        for i, (name, k) in enumerate(zip(names, ks, strict=True))
    )


def probe_ranks(mated: MatedProbes, *, block: int | None = None, device: str = "cpu") -> np.ndarray:
    """int64[P]: 1 + how many other images, distractors included, are at least as similar to a probe as its mate.

    >>> rows = np.eye(3)
    >>> probe_ranks(MatedProbes.match(rows, range(3), rows[[0, 0]], [0, 2])).tolist()
    [1, 3]
    """
    import torch

    on, order = torch.device(device), np.argsort(mated.mate, kind="stable")
    probe, least = mated.probe[order], mated.mate_similarity(BLOCK)[order] - np.float32(TIE)
    mate = mated.mate[order]
    probe_PD, least_P1 = torch.from_numpy(probe).to(on), torch.from_numpy(least[:, None]).to(on)
    rank = np.ones(len(probe), np.int64)
    for others, own in (
        (mated.gallery, np.stack([mate, mate + 1], axis=1)),
        (mated.distractor, np.zeros((len(mate), 2), np.int64)),
    ):
        counted = counts_at_least(
            probe_PD, torch.from_numpy(others).to(on), least_P1, own, block=block, track=mated.track
        )
        rank[order] += counted.cpu().numpy()[:, 0]
    return rank

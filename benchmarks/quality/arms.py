"""The rows of the table: what each arm changes in the settings of `subspace run`, and what all share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from subspace.train.devices import cpu_has_bf16

Kind = Literal["random", "softmax", "planned"]

P, K = 128, 2
VISITS = 10
"""Of each training identity in a run, on average."""
LR = 16e-3
"""Peak learning rate of every arm: from here on more gains none of them anything, see the ablation."""
PRECISION = "bf16-mixed" if torch.cuda.is_available() or cpu_has_bf16() else "32-true"
"""Every stored row has bf16 unless it says otherwise; a CPU without it would take ten times as long."""
PRETRAIN = (
    "pretrain.steps=800",
    f"pretrain.P={P}",
    f"pretrain.K={K}",
    f"pretrain.precision={PRECISION}",
    "pretrain.optimizer.lr=2e-3",
    "pretrain.trackers=[]",
)
"""The starting network: softmax on the 10,000 pretrain identities."""
COMMON = (
    "pretrain.steps=0",
    "data.test_splits=[none]",  # networks are examined afterwards, all on the same pairs
    "data.val_splits=[none]",
    "data.distractor_splits=[none]",
    f"extract.precision={PRECISION}",
    "extract.max_images=4",
    "extract.batch_size=64",
    "recluster.refresh=extract",
    "extract.num_workers=0",  # a row is one process on one core, so that seconds say what it costs
    "train.num_workers=0",
    f"train.precision={PRECISION}",
    "train.collapse.action=warn",
    "train.trackers=[]",
)
"""Settings of every arm."""


@dataclass(frozen=True)
class Arm:
    """One way of choosing batches and of learning from them."""

    name: str
    kind: Kind
    settings: tuple[str, ...]
    """Overrides of `subspace.yaml`; {n} is the size of a subspace on the glyph set at hand, {half_n} half of it."""
    rounds: int = 1
    """More than one: the identities are clustered again between them."""
    by_round: tuple[str, ...] = ()
    """A curriculum: one override for each round, over the settings."""
    P: int = P
    K: int = K
    embedding_size: int = 128
    needs_means: bool = True
    """Whether extracting and clustering count as its mining."""


MEMORY = ("train.loss=xbm:multi_similarity", "train.loss_args.xbm.warmup_steps=0")
GROUPS = ("plan.group_size=8", "plan.random_fraction=0.75")


def _multi_similarity(base: float, **slopes: int) -> tuple[str, ...]:
    """Its λ: the similarity above which a positive, and below which a negative, weighs little; α and β: its slopes there."""
    given = {"base": base, "beta": 50, **slopes}
    own = (f"train.loss_args.multi_similarity.{name}={value}" for name, value in given.items())
    return "train.loss=multi_similarity", *own


def _batch_ohnm(margin: float, k: int = 3) -> tuple[str, str, str]:
    """With more than the default margin of 0.3, or another k than the default of 3, see the ablations."""
    own = "train.loss_args.batch_ohnm"
    return "train.loss=batch_ohnm", f"{own}.margin={margin}", f"{own}.negatives={k}"


def _both(base: float, margin: float) -> tuple[str, ...]:
    """The sum of multi-similarity, which is better at a low FAR, and batch OHNM with a large margin, better at Rank-1."""
    sum_of_both = "train.loss=multi_similarity + batch_ohnm"
    return *_multi_similarity(base), *_batch_ohnm(margin), sum_of_both


def _random(name: str, *settings: str) -> Arm:
    return Arm(
        name, "random", ("plan.strategy=random", "cluster.ids_per_subspace=all", *settings), needs_means=False
    )


def _planned(name: str, *settings: str, rounds: int = 1) -> Arm:
    return Arm(name, "planned", ("cluster.ids_per_subspace={n}", "plan.strategy=custom", *settings), rounds)


def _groups(size: int, random_share: float, loss: str, *settings: str, rounds: int = 1) -> Arm:
    mixed = f", {random_share:.0%} random" if random_share else ""
    name = f"groups of {size}{mixed}, {loss}"
    return _planned(
        name, f"plan.group_size={size}", f"plan.random_fraction={random_share}", *settings, rounds=rounds
    )


def _re_clustered(size: int, random_share: float, loss: str, *settings: str) -> Arm:
    """Groups that are found again half-way, as the default does it."""
    name = f"{loss}, re-clustered on running means"
    return _groups(size, random_share, name, *settings, "recluster.refresh=running", rounds=2)


def _class_loss(title: str, loss: str, scale: str = "scale", **given: float) -> Arm:
    """A class loss over all identities, as the field has it; s=16 as of Partial FC."""
    own = {scale: 16, **given}
    settings = (f"train.loss_args.{loss}.{name}={value:g}" for name, value in own.items())
    said = ", ".join(f"{SIGNS.get(name, name)}={value:g}" for name, value in own.items())
    return replace(_random(f"{title}, {said}", f"train.loss={loss}", *settings), kind="softmax")


def _searched(title: str, curve: str) -> Arm:
    """A class loss that `search_loss_on_glyphs.py` found, or drew; commands run in this folder."""
    return replace(_random(f"{title}, s=16", f"train.loss=searched:curves/{curve}.json"), kind="softmax")


DRAWS = 3
"""Of the space of AM-LFS, at random."""
SIGNS = {"scale": "s", "margin": "m", "gamma": "γ"}
SLOPES = {
    f"multi-similarity, λ={base}{slopes}": _multi_similarity(base, **given)
    for base, slopes, given in (
        (0.8, ", α=1", {"alpha": 1}),
        (0.8, ", α=5", {"alpha": 5}),
        (0.8, ", β=6", {"beta": 6}),
        (0.7, ", β=10", {"beta": 10}),
        (0.8, ", β=10", {"beta": 10}),
        (0.9, ", β=10", {"beta": 10}),
        (0.8, ", α=1, β=10", {"alpha": 1, "beta": 10}),
        (0.7, ", β=20", {"beta": 20}),
        (0.8, ", β=20", {"beta": 20}),
        (0.9, ", β=20", {"beta": 20}),
        (0.8, ", β=100", {"beta": 100}),
    )
}
"""Multi-similarity with other slopes than the paper's 2 and 50, which the other arms have."""
FLAT = ("λ=0.8, β=6", "λ=0.8, β=10", "λ=0.8, β=20")
"""Those that random batches have as well."""
RE_CLUSTERED = (*GROUPS, *_multi_similarity(0.8), "recluster.refresh=running")
ARMS = {
    arm.name: arm
    for arm in (
        _random("random, OHNM", "train.loss=ohnm"),
        _random("random, batch OHNM", "train.loss=batch_ohnm"),
        *(_random(f"random, batch OHNM, m={m}", *_batch_ohnm(m)) for m in (0.8, 1.2)),
        *(_random(f"random, batch OHNM, m=0.8, k={k}", *_batch_ohnm(0.8, k)) for k in (1, 10)),
        _random("random, semi-hard", "train.loss=semi_hard"),
        _random(
            "random, batch hard, soft margin",
            "train.loss=batch_hard",
            "train.loss_args.batch_hard.soft_margin=true",
        ),
        _random("random, circle", "train.loss=circle_pair"),
        _random("random, pairwise CosFace", "train.loss=pairwise_cosface"),
        *(_random(f"random, multi-similarity, λ={x}", *_multi_similarity(x)) for x in (0.5, 0.7, 0.8)),
        *(
            _random(f"random, multi-similarity, λ=0.8 + batch OHNM, m={m}", *_both(0.8, m))
            for m in (0.8, 1.2)
        ),
        *(_random(f"random, {name}", *SLOPES[name]) for name in SLOPES if name.endswith(FLAT)),
        _random(
            "random, memory of 8,192, multi-similarity, λ=0.7",
            *_multi_similarity(0.7),
            *MEMORY,
            "train.loss_args.xbm.memory_size=8192",
        ),
        *(
            Arm(
                f"Partial FC CosFace, r={share}{'' if scale == 16 else f', s={scale}'}{', sparse gradient' * sparse}",
                "softmax",
                (
                    "plan.strategy=random",
                    "cluster.ids_per_subspace=all",
                    "train.loss=partial_fc",
                    "train.loss_args.partial_fc.kind=cosface",
                    f"train.loss_args.partial_fc.share={share}",
                    # of 16, 32, 64 the best on glyphs at this budget, with this margin
                    f"train.loss_args.partial_fc.scale={scale}",
                    "train.loss_args.partial_fc.margin=0.2",
                    *(("train.loss_args.partial_fc.sparse_gradient=true",) if sparse else ()),
                ),
            )
            for share, scale, sparse in (
                (0.1, 16, False),
                (0.001, 16, False),
                (0.1, 32, False),
                (0.1, 16, True),
                (0.001, 16, True),
            )
        ),
        _class_loss("softmax", "softmax"),
        *(_class_loss("CosFace", "cosface", margin=m) for m in (0.2, 0.35)),
        *(_class_loss("ArcFace", "arcface", margin=m) for m in (0.2, 0.4, 0.6)),
        *(_class_loss("MV-Softmax", "mv_softmax", margin=m) for m in (0.2, 0.35)),
        *(_class_loss("CurricularFace", "curricularface", margin=m) for m in (0.2, 0.4)),
        *(_class_loss("Circle", "circle", "gamma", gamma=gamma) for gamma in (64, 256)),
        _searched("AM-LFS, found", "am-lfs"),
        *(_searched(f"AM-LFS, drawn at random ({n})", f"am-lfs-draw-{n}") for n in range(DRAWS)),
        _searched("Search-Softmax, found", "search-softmax"),
        _planned("subspaces, batch OHNM", "train.loss=batch_ohnm"),
        _planned("subspaces, batch OHNM, re-clustered", "train.loss=batch_ohnm", rounds=4),
        _planned(
            "the paper's recipe: k-means subspaces in sequence, batch OHNM",
            "train.loss=batch_ohnm",
            "cluster.balance=none",
            "plan.strategy=subspace",
            "plan.order=sequential",
        ),
        *(_groups(g, 0.0, "batch OHNM", "train.loss=batch_ohnm") for g in (2, 4, 8)),
        _planned("graph (g=P), batch OHNM", "plan.strategy=graph", "train.loss=batch_ohnm"),
        *(_groups(4, share, "batch OHNM", "train.loss=batch_ohnm") for share in (0.25, 0.5)),
        _groups(4, 0.5, "batch OHNM, m=0.8", *_batch_ohnm(0.8)),
        *(_groups(8, 0.75, f"batch OHNM, m={m}", *_batch_ohnm(m)) for m in (0.8, 1.2)),
        *(_groups(8, 0.75, f"batch OHNM, m=0.8, k={k}", *_batch_ohnm(0.8, k)) for k in (1, 10)),
        _planned("subspaces, multi-similarity, λ=0.7", *_multi_similarity(0.7)),
        *(
            _groups(8, share, "multi-similarity, λ=0.7", *_multi_similarity(0.7))
            for share in (0.0, 0.25, 0.5, 0.75)
        ),
        _groups(4, 0.75, "multi-similarity, λ=0.7", *_multi_similarity(0.7)),
        *(_groups(8, 0.75, f"multi-similarity, λ={x}", *_multi_similarity(x)) for x in (0.5, 0.8, 0.9)),
        _groups(8, 0.5, "multi-similarity, λ=0.8", *_multi_similarity(0.8)),
        _groups(16, 0.75, "multi-similarity, λ=0.8", *_multi_similarity(0.8)),
        *(
            _planned(
                f"groups of 8, 75% random, multi-similarity, λ={x}, re-clustered{how}",
                *GROUPS,
                *_multi_similarity(x),
                *settings,
                rounds=rounds,
            )
            for x, how, rounds, settings in (
                (0.7, "", 2, ()),
                (0.7, " on running means", 2, ("recluster.refresh=running",)),
                (0.8, " on running means", 2, ("recluster.refresh=running",)),
                (0.8, " 3 times on running means", 4, ("recluster.refresh=running",)),
            )
        ),
        *(_re_clustered(8, 0.75, name, *settings) for name, settings in SLOPES.items()),
        *(
            _planned(
                f"groups of 8, 75% random, multi-similarity, λ=0.8, β=20, re-clustered on running means, {apart}",
                *GROUPS,
                *SLOPES["multi-similarity, λ=0.8, β=20"],
                "recluster.refresh=running",
                "plan.duplicates=apart",
                f"cluster.duplicates_within={within}",
                rounds=2,
            )
            for apart, within in (
                ("suspected duplicates apart", 1.5),
                ("suspected duplicates within 0.75 apart", 0.75),
            )
        ),
        *(
            _planned(
                f"groups of 8, 75% random, multi-similarity, λ=0.8, β=20, re-clustered on running means, n={n:,}",
                *GROUPS,
                *SLOPES["multi-similarity, λ=0.8, β=20"],
                "recluster.refresh=running",
                f"cluster.ids_per_subspace={n}",
                rounds=2,
            )
            for n in (1_000, 100_000)
        ),
        *(
            _re_clustered(g, share, name, *SLOPES[name])
            for g, share, name in (
                (16, 0.75, "multi-similarity, λ=0.8, β=10"),
                (16, 0.5, "multi-similarity, λ=0.8, β=10"),
                (8, 0.25, "multi-similarity, λ=0.8, β=10"),
                (8, 0.5, "multi-similarity, λ=0.8, β=10"),
                (8, 0.5, "multi-similarity, λ=0.8, β=20"),
                (8, 0.25, "multi-similarity, λ=0.8, β=20"),
                (8, 0.25, "multi-similarity, λ=0.8, β=6"),
            )
        ),
        _planned(
            "groups of 8, 75% random, multi-similarity, λ=0.8, re-clustered when r@10 has fallen by 5%",
            *RE_CLUSTERED,
            "recluster.stale_below=0.95",  # at 0.5 never: after the whole run it is 0.89 of what it was
        ),
        replace(
            _planned(
                "groups of 2, 4, 8, then 16, 75% random, multi-similarity, λ=0.8, re-clustered 3 times on running means",
                *RE_CLUSTERED,
                rounds=4,
            ),
            by_round=tuple(f"plan.group_size={g}" for g in (2, 4, 8, 16)),
        ),
        replace(
            _planned(
                "n twice as large, then n, half, a quarter; groups of 8, 75% random, multi-similarity, λ=0.8, "
                "re-clustered 3 times on running means",
                *RE_CLUSTERED,
                rounds=4,
            ),
            by_round=tuple(
                f"cluster.ids_per_subspace={n}" for n in ("{double_n}", "{n}", "{half_n}", "{quarter_n}")
            ),
        ),
        *(
            _re_clustered(8, 0.75, f"multi-similarity, λ=0.8 + batch OHNM, m={m}", *_both(0.8, m))
            for m in (0.8, 1.2)
        ),
        _groups(8, 0.75, "circle", "train.loss=circle_pair"),
        _groups(8, 0.75, "pairwise CosFace", "train.loss=pairwise_cosface"),
        *(
            _planned(
                f"{name} in sequence, {share}% random, memory of 4,096, {loss}",
                f"plan.group_size={g}",
                f"plan.random_fraction={share / 100}",
                "plan.order=sequential",
                "train.loss_args.xbm.memory_size=4096",
                *settings,
            )
            for name, g, share, loss, settings in (
                ("subspaces", 1, 25, "multi-similarity, λ=0.7", (*_multi_similarity(0.7), *MEMORY)),
                (
                    "subspaces",
                    1,
                    25,
                    "multi-similarity, λ=0.7, beside that of the batch",
                    (*_multi_similarity(0.7), *MEMORY, "train.loss=multi_similarity + xbm:multi_similarity"),
                ),
                (
                    "groups of 8",
                    8,
                    75,
                    "multi-similarity, λ=0.8, β=20",
                    (*SLOPES["multi-similarity, λ=0.8, β=20"], *MEMORY),
                ),
            )
        ),
        _planned("subspaces, OIM", "train.loss=oim", "train.loss_args.oim.queue_size=0"),
        _planned(
            "subspaces, multi-similarity, λ=0.7 + subspace softmax",
            *_multi_similarity(0.7),
            "train.loss=multi_similarity + subspace_softmax",
            "train.loss_args.subspace_softmax.scale=16",  # as of Partial FC
        ),
    )
}
"""By name, in the order of the table."""

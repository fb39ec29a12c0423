"""What each setting of the method is worth: one thing varied at a time, drawn as one plot each by `draw.py`.

All with equal steps, and on 20,000 glyph identities but for two on 100,000 words, so that a plot is minutes and not
hours. Most have the paper's own loss, batch OHNM, whose k and margin are among the settings, and an earlier learning
rate; those of the memory have multi-similarity, and label noise, the number of identities and the rate on words have
the default plan and its loss on random batches as well.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from arms import ARMS, LR, VISITS, Arm
from one_row import Row

SET = "20k"
EARLIER_LR = 2e-3
"""What most ablations were measured with, before a better rate was found."""
PLANNED = ARMS["groups of 4, 50% random, batch OHNM"]
RANDOM = ARMS["random, batch OHNM"]
DEFAULT = ARMS["groups of 8, 75% random, multi-similarity, λ=0.8, β=20, re-clustered on running means"]
APART = ARMS[f"{DEFAULT.name}, suspected duplicates apart"]
SAME_LOSS = ARMS["random, multi-similarity, λ=0.8, β=20"]
REMEMBERING = ARMS["subspaces in sequence, 25% random, memory of 4,096, multi-similarity, λ=0.7"]
RANDOM_REMEMBERING = ARMS["random, memory of 8,192, multi-similarity, λ=0.7"]


@dataclass(frozen=True)
class Point:
    """One row of an ablation."""

    line: str
    """Points of one name are joined."""
    x: float
    data: str
    arm: Arm
    visits: float = VISITS
    lr: float = EARLIER_LR

    def row(self, seed: int = 0, threads: int = 1) -> Row:
        """Its row of the comparison."""
        return Row(self.arm, self.data, seed, "steps", self.visits, threads, lr=self.lr)


@dataclass(frozen=True)
class Ablation:
    """One plot."""

    name: str
    """For the command line and the file."""
    title: str
    axis: str
    points: tuple[Point, ...]
    logarithmic: bool = False


def _with(arm: Arm, what: str, *settings: str, **fields: int) -> Arm:
    return replace(arm, name=f"{arm.name}, {what}", settings=(*arm.settings, *settings), **fields)


def _embedding_sizes(arm: Arm, sizes: tuple[int, ...]) -> dict[float, Arm]:
    return {D: _with(arm, f"D={D}", embedding_size=D) if arm.embedding_size != D else arm for D in sizes}


def with_memory(arm: Arm, size: int) -> Arm:
    """The arm with another memory than its name says, and named so."""
    name = re.sub("memory of [0-9,]*[0-9]", f"memory of {size:,}", arm.name)
    return replace(arm, name=name, settings=(*arm.settings, f"train.loss_args.xbm.memory_size={size}"))


def _with_random_share(arm: Arm, percent: int) -> Arm:
    name = arm.name.replace("25% random", f"{percent}% random")
    return replace(arm, name=name, settings=(*arm.settings, f"plan.random_fraction={percent / 100}"))


def _points(line: str, arms: dict[float, Arm], lr: float = EARLIER_LR) -> tuple[Point, ...]:
    return tuple(Point(line, x, SET, arm, lr=lr) for x, arm in arms.items())


EARLIER_LINES = (
    ("batch OHNM, groups of 4, half random, lr=0.002", PLANNED, EARLIER_LR),
    ("batch OHNM, random batches, lr=0.002", RANDOM, EARLIER_LR),
)
LINES = (
    ("the default plan, lr=0.016", DEFAULT, LR),
    ("its loss, random batches, lr=0.016", SAME_LOSS, LR),
    *EARLIER_LINES,
)
CLEANED_LINES = tuple((f"{line}, cleaned", arm, lr) for line, arm, lr in LINES[:2])
APART_LINES = (("the default plan, suspected duplicates apart", APART, LR),)


def _sets(
    names: dict[float, str],
    visits: dict[float, float] | None = None,
    lines: tuple[tuple[str, Arm, float], ...] = LINES,
) -> tuple[Point, ...]:
    return tuple(
        Point(line, x, data, arm, visits[x] if visits else VISITS, lr)
        for line, arm, lr in lines
        for x, data in names.items()
    )


ABLATIONS = {
    ablation.name: ablation
    for ablation in (
        Ablation(
            "learning-rate",
            "Peak learning rate (AdamW)",
            "learning rate",
            tuple(
                Point(line, lr, SET, arm, lr=lr)
                for line, arm in (
                    ("the default plan", DEFAULT),
                    ("random batches, batch OHNM, m=0.8", ARMS["random, batch OHNM, m=0.8"]),
                    ("random batches, batch OHNM, m=1.2", ARMS["random, batch OHNM, m=1.2"]),
                    ("Partial FC", ARMS["Partial FC CosFace, r=0.1"]),
                )
                for lr in (EARLIER_LR, 4e-3, 8e-3, 16e-3, 32e-3)
            ),
            logarithmic=True,
        ),
        Ablation(
            "learning-rate-on-words",
            "Peak learning rate (AdamW), 100,000 words, three visits",
            "learning rate",
            tuple(
                Point(line, lr, "words-100k", arm, 3, lr)
                for line, arm, lrs in (
                    ("the default plan", DEFAULT, (8e-3, 16e-3, 32e-3, 64e-3, 128e-3)),
                    ("its loss, random batches", SAME_LOSS, (8e-3, 16e-3, 32e-3, 64e-3)),
                    ("Partial FC", ARMS["Partial FC CosFace, r=0.1"], (4e-3, 8e-3, 16e-3, 32e-3)),
                )
                for lr in lrs
            ),
            logarithmic=True,
        ),
        Ablation(
            "tolerance",
            "How much larger than the average a subspace may be, 100,000 words, three visits",
            "tolerance",
            tuple(
                Point(line, x, "words-100k", arm, 3, 64e-3)
                for line, x, arm in (
                    ("the default plan", 0.02, DEFAULT),
                    ("the default plan", 1, _with(DEFAULT, "tolerance=1", "cluster.tolerance=1")),
                    (
                        "plain k-means",
                        math.inf,
                        _with(DEFAULT, "plain k-means", "cluster.balance=none"),
                    ),
                )
            ),
            logarithmic=True,
        ),
        Ablation(
            "subspace-size",
            "Identities in a subspace (n), subspaces without groups",
            "n",
            _points(
                "subspaces, batch OHNM",
                {
                    n: _with(ARMS["subspaces, batch OHNM"], f"n={n}", f"cluster.ids_per_subspace={n}")
                    for n in (250, 500, 1000, 2000, 5000, 10_000)
                }
                | {20_000: RANDOM},
            ),
            logarithmic=True,
        ),
        Ablation(
            "negatives",
            "Nearest negatives of an anchor-positive pair (k)",
            "k",
            _points(
                "groups of 4, half random",
                {
                    k: _with(PLANNED, f"k={k}", f"train.loss_args.batch_ohnm.negatives={k}")
                    for k in (1, 2, 3, 5, 10)
                },
            ),
        ),
        Ablation(
            "margin",
            "Margin (m)",
            "m",
            tuple(
                Point(
                    line,
                    m,
                    SET,
                    _with(arm, f"m={m}", f"train.loss_args.batch_ohnm.margin={m}") if m != 0.3 else arm,
                )
                for line, arm, margins in (
                    ("groups of 4, half random", PLANNED, (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)),
                    ("random batches", RANDOM, (0.3, 0.5, 0.8, 1.2)),
                )
                for m in margins
            ),
        ),
        Ablation(
            "images-in-a-batch",
            "Images of an identity in a batch of 256 (K)",
            "K",
            tuple(
                Point(line, k, SET, _with(arm, f"{k} images each", P=256 // k, K=k) if k != arm.K else arm)
                for line, arm in (("groups of 4, half random", PLANNED), ("random batches", RANDOM))
                for k in (2, 4, 8)
            ),
            logarithmic=True,
        ),
        Ablation(
            "embedding-size",
            "Embedding size (D)",
            "D",
            (
                *_points("groups of 4, half random", _embedding_sizes(PLANNED, (64, 128, 256, 512))),
                *_points("the default plan, lr=0.016", _embedding_sizes(DEFAULT, (32, 64, 128, 256)), LR),
            ),
            logarithmic=True,
        ),
        Ablation(
            "memory",
            "Embeddings of past batches that are kept beside the batch of 256",
            "embeddings",
            tuple(
                Point(line, size, SET, with_memory(arm, size), lr=LR)
                for line, arm in (
                    ("subspaces in sequence, a quarter random", REMEMBERING),
                    ("random batches", RANDOM_REMEMBERING),
                )
                for size in (512, 1024, 4096, 16384)
            ),
            logarithmic=True,
        ),
        Ablation(
            "memory-random-share",
            "Random share of batches of subspaces in sequence, memory of 4,096",
            "% random",
            _points(
                "subspaces in sequence",
                {share: _with_random_share(REMEMBERING, share) for share in (0, 25, 50, 75)},
                LR,
            ),
        ),
        Ablation(
            "memory-visit",
            "Batches of a subspace in a row, memory of 4,096",
            "batches",
            _points(
                "subspaces in sequence, a quarter random",
                {
                    round(n / 96): _with(REMEMBERING, f"n={n}", f"cluster.ids_per_subspace={n}")
                    if n != 2000
                    else REMEMBERING
                    for n in (500, 1000, 2000, 5000)
                },
                LR,
            ),
            logarithmic=True,
        ),
        Ablation(
            "label-noise",
            "Training images that carry another name, percent",
            "%",
            _sets({0: SET, 5: f"{SET}-noise5"}, lines=LINES[:2])
            + _sets({10: f"{SET}-noise10", 20: f"{SET}-noise20", 40: f"{SET}-noise40"})
            + _sets({0: SET}, lines=EARLIER_LINES)
            + _sets({x: f"{SET}-noise{x}-cleaned" for x in (5, 10, 20)}, lines=CLEANED_LINES)
            + _sets({10: f"{SET}-noise10", 20: f"{SET}-noise20"}, lines=APART_LINES),
        ),
        Ablation(
            "images",
            "Training images of an identity, at most (all: 15 on average)",
            "images",
            _sets(
                {2: f"{SET}-images2", 4: f"{SET}-images4", 8: f"{SET}-images8", 15: SET}, lines=EARLIER_LINES
            ),
        ),
        Ablation(
            "identities",
            "Training identities, at the same number of images shown",
            "identities",
            _sets(
                {5_000: "5k", 10_000: "10k", 20_000: "20k", 40_000: "40k", 78_254: "100k"},
                {5_000: 40.0, 10_000: 20.0, 20_000: 10.0, 40_000: 5.0, 78_254: 200_000 / 78_254},
            ),
            logarithmic=True,
        ),
    )
}
"""By name, in the order of BENCHMARKS.md."""

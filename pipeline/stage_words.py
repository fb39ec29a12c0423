"""What a stage says of itself when it is done, in words: the summaries of the completion markers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..mining.clustering.duplicate_trust import MOST_WITH_PARTNER, DuplicateTrust, most_pairs
from .console import counted, percent

if TYPE_CHECKING:
    from ..mining.planning.settings import PlanConfig

Values = Mapping[str, Any]

PHASE_WORDS = {
    "data": "loading",
    "forward": "forward",
    "mine": "loss",
    "loss": "loss",
    "backward": "backward",
    "update": "optimiser",
    "means": "running means",
    "log": "logging",
    "checkpoint": "saving",
    "pictures": "pictures",
    "other": "other",
}
"""What the phases of a training are called in a table; the loss includes mining."""


def summary_in_words(stage_name: str, summary: Values) -> str:
    """The summary of a stage's marker as one line; figures that it lacks, or that are unknown, are left out.

    Args:
        stage_name: a key of `STAGE_WORDS`; of another stage the figures are given by their keys.
    """
    known = {key: value for key, value in summary.items() if value is not None}
    return ", ".join(STAGE_WORDS.get(stage_name, _other)(known))


def metric_in_words(name: str, value: float) -> str:
    """A metric, all of which are shares: Rank-1 89.8 %."""
    return f"{name} {percent(value, 1)}"


def duplicates_in_words(trust: DuplicateTrust, rank_1: float | None = None) -> str:
    """A list of suspected duplicates in one line, and why it is not to be trusted yet, where it is not.

    Args:
        rank_1: of the network that made the means, on the validation identities; None where it is not known.

    Example:
        >>> duplicates_in_words(DuplicateTrust(pairs=33, involved=50, identities=1_200))
        '33 pairs of suspected duplicates among 1,200 identities'
        >>> duplicates_in_words(DuplicateTrust(21_633, 2_726, 2_726), 0.095)  # doctest: +NORMALIZE_WHITESPACE
        '21,633 pairs of suspected duplicates among 2,726 identities, not yet reliable: 2,726 of these have a suspected
        partner, and up to 10 % would be believed, by a network whose Rank-1 is 9.5 %'
    """
    pairs = counted(trust.pairs, "pair of suspected duplicates", "pairs of suspected duplicates")
    at_least = "at least " if trust.pairs == most_pairs(trust.identities) else ""  # no more are kept
    words = f"{at_least}{pairs} among {counted(trust.identities, 'identity', 'identities')}"
    if trust.reliable:
        return words
    network = "" if rank_1 is None else f", by a network whose Rank-1 is {percent(rank_1, 1)}"
    return (
        f"{words}, not yet reliable: {trust.involved:,} of these have a suspected partner, and up to "
        f"{percent(MOST_WITH_PARTNER)} would be believed{network}"
    )


def one_subspace_in_words(plan: PlanConfig) -> str:
    """What the batches of a plan are where one subspace holds all identities.

    Example:
        >>> from subspace.mining import PlanConfig
        >>> one_subspace_in_words(PlanConfig()), one_subspace_in_words(PlanConfig(strategy="subspace"))
        ('look-alikes are sought among all identities', 'batches are random')
    """
    if plan.draw.group_size == 1 or plan.seeds_per_batch == 0:
        return "batches are random"
    return "look-alikes are sought among all identities"


def span(smallest: int, largest: int) -> str:
    """Numbers from the smallest to the largest; one number where they are equal.

    >>> span(98, 1_102), span(8, 8)
    ('98 to 1,102', '8')
    """
    return f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"


def _training(summary: Values) -> Iterator[str]:
    if summary.get("steps") == 0:
        yield "no steps: the network as it was given"
        return
    if "steps" in summary:
        yield counted(summary["steps"], "step")
    if "loss" in summary:
        yield f"loss {summary['loss']:.3f}"
    if "collapses" in summary:
        yield counted(summary["collapses"], "collapse")
    if "active_fraction" in summary:
        yield f"{percent(summary['active_fraction'])} of triplets active"
    elif "active_images" in summary:
        yield f"{percent(summary['active_images'])} of images active"
    if "images_per_second" in summary:
        yield f"{summary['images_per_second']:,.0f} images/s"
    yield from _unreadable(summary.get("unreadable_images"))


def _extract(summary: Values) -> Iterator[str]:
    if "identities" in summary:
        yield counted(summary["identities"], "identity", "identities")
    yield from _unreadable(summary.get("quarantined"))
    if "images_per_second" in summary:
        yield f"{summary['images_per_second']:,.0f} images/s"


def _cluster(summary: Values) -> Iterator[str]:
    smallest, largest = summary.get("smallest"), summary.get("largest")
    if summary.get("subspaces") == 1:
        everybody = f" of {largest:,} identities" if largest is not None else ""
        yield f"one subspace{everybody}"
    elif "subspaces" in summary:
        sizes = "" if smallest is None or largest is None else f" of {span(smallest, largest)} identities"
        yield counted(summary["subspaces"], "subspace") + sizes
        yield from (
            f"{percent(value)} of nearest neighbours kept"
            for key, value in summary.items()
            if key.startswith("recall@")
        )
        if "kept" in summary:
            yield f"likeness to the round before {summary['kept']:.2f} (adjusted Rand index)"
    if summary.get("duplicates"):
        yield counted(summary["duplicates"], "suspected duplicate") + _unreliable(summary)


def _unreliable(summary: Values) -> str:
    """What is to be said of a round's suspected duplicates; rounds of earlier versions know only their number."""
    if "in_duplicates" not in summary or "identities" not in summary:
        return ""
    trust = DuplicateTrust(summary["duplicates"], summary["in_duplicates"], summary["identities"])
    return "" if trust.reliable else f" (not yet reliable: {percent(trust.share)} of the identities have one)"


def _plan(summary: Values) -> Iterator[str]:
    if "batches" in summary:
        yield counted(summary["batches"], "batch", "batches")
    if "hardness" in summary:
        random = f" (random {summary['random_hardness']:.2f})" if "random_hardness" in summary else ""
        yield f"nearest other identity at cosine {summary['hardness']:.2f}{random}"
    if "paired_batches" in summary:
        yield f"{summary['paired_batches']:,} of them with two images of an identity"
    if summary.get("singletons"):
        yield counted(summary["singletons"], "identity", "identities") + " with one image"


def _metrics(summary: Values) -> Iterator[str]:
    yield from (
        metric_in_words(name, value) for name, value in summary.items() if name != "unreadable_images"
    )
    yield from _unreadable(summary.get("unreadable_images"))


def _unreadable(images: int | None) -> Iterator[str]:
    if images:
        yield counted(images, "unreadable image")


def _other(summary: Values) -> Iterator[str]:
    for key, value in summary.items():
        number = (
            f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value
        )
        yield f"{key.replace('_', ' ')} {number}"


STAGE_WORDS: dict[str, Callable[[Values], Iterator[str]]] = {
    "pretrain": _training,
    "extract": _extract,
    "cluster": _cluster,
    "plan": _plan,
    "train": _training,
    "validate": _metrics,
    "eval": _metrics,
}
"""What says the summary of a stage in words, by the name of the stage."""

"""Whether figures of several runs are of the same identities and images; and whether their intervals overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from .compared_run import ComparedRun, Network

OF_THE_NETWORK = ("network", "code", "extract.batch_size", "extract.precision")
"""Fields of an examination that say nothing of its images."""
OF_THE_METRICS = ("bootstrap", "ks", "fars", "metrics")
"""Last words of fields that only choose which metrics there are, and how their intervals are drawn."""
DRAWN = "seed"
"""Draws gallery images, and probes and distractors where they are limited: figures are of other images then."""
DRAWN_IDENTITIES = "drawn identities"
"""What the seed draws where `validation.identities` limits them: figures are of other identities then."""
COUNTS = ("identities", "probes", "gallery", "distractors", "genuine_pairs", "impostor_pairs")


def differing_bases(runs: Sequence[ComparedRun], kind: str) -> list[str]:
    """What the figures of some kind of these runs rest on that is not the same: fields and counts; empty: all is.

    Those of all networks of a run count: an evaluation that was made anew may have stopped after some.
    """
    bases = [_basis(network, kind) for run in runs for network in run.networks if kind in network.figures]
    keys = dict.fromkeys(key for basis in bases for key in basis)
    missing = object()
    differing = [
        key for key in keys if any(basis.get(key, missing) != bases[0].get(key, missing) for basis in bases)
    ]
    counts = [f"number of {name.replace('_', ' ')}" for name in COUNTS]
    return [key for key in differing if key not in counts] or differing  # counts follow from the rest


def _basis(network: Network, kind: str) -> dict[str, Any]:
    """What the figures of a network rest on, without what does not change the images."""
    figures, fields = network.figures[kind], network.fields[kind]
    counts = {f"number of {name.replace('_', ' ')}": figures.get(name) for name in COUNTS}
    drawn = {DRAWN_IDENTITIES: fields.get(DRAWN)} if are_drawn(figures, fields) else {}
    return fields_of_images(fields) | drawn | counts


def are_drawn(figures: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether there are as many identities as `validation.identities` allows, those counted that none could read."""
    limit = fields.get("validation.identities")
    return limit is not None and figures["identities"] + (figures.get("unreadable_images") or 0) >= limit


def fields_of_images(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an examination on which it depends what images its figures are of.

    >>> fields_of_images({"manifest": "a", "network": "b", "evaluate.ks": [1, 5], "seed": 7})
    {'manifest': 'a', 'seed': 7}
    """
    return {
        key: value
        for key, value in fields.items()
        if key not in OF_THE_NETWORK and key.rpartition(".")[2] not in OF_THE_METRICS
    }


def in_words(kind: str, differing: Sequence[str]) -> str:
    """One sentence on whether the figures of a kind may be compared.

    >>> in_words("test", ["seed"])
    'test: the same identities, but the seeds draw other images of them: figures differ by that, too'
    """
    if not differing:
        return f"{kind}: the same identities and images in all runs"
    if list(differing) == [DRAWN]:
        return f"{kind}: the same identities, but the seeds draw other images of them: figures differ by that, too"
    return f"{kind}: figures are not comparable, measurements differ in {', '.join(differing)}"


def are_comparable(differing: Sequence[str]) -> bool:
    """Whether figures are of the same identities."""
    return not set(differing) - {DRAWN}


def apart_and_overlapping(
    metrics: Mapping[str, Mapping[str, float | None] | None],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs of runs whose 95 % intervals of a metric have no value in common, and pairs whose have.

    >>> a, b, c = ({"low": low, "high": low + 0.1} for low in (0.1, 0.15, 0.5))
    >>> apart_and_overlapping({"a": a, "b": b, "c": c})
    ([('a', 'c'), ('b', 'c')], [('a', 'b')])
    """
    apart: list[tuple[str, str]] = []
    overlapping: list[tuple[str, str]] = []
    for (name, one), (other_name, other) in combinations(metrics.items(), 2):
        if one is not None and other is not None and (are := are_apart(one, other)) is not None:
            (apart if are else overlapping).append((name, other_name))
    return apart, overlapping


def are_apart(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> bool | None:
    """Whether two intervals, from `low` to `high`, have no value in common; None where an end is not known.

    >>> are_apart({"low": 0.1, "high": 0.2}, {"low": 0.2, "high": 0.3})
    False
    """
    low, high, other_low, other_high = one["low"], one["high"], other["low"], other["high"]
    if low is None or high is None or other_low is None or other_high is None:
        return None
    return high < other_low or other_high < low

"""Families of networks, and the learning rates that were searched for them."""

from __future__ import annotations

SEARCHED_RATES = {"small": 0.016}
"""Peak learning rate of AdamW in training, by family of networks, where it has been searched; see BENCHMARKS.md."""


def family_of(spec: str) -> str | None:
    """The family of the network with this spec of its own (`small`, `iresnet50`, ...); None where it is the user's.

    A checkpoint has the family of the spec in its `meta.json`.

    >>> family_of("iresnet50"), family_of("python:my_nets:published")
    ('iresnet', None)
    """
    if spec.partition(":")[1]:
        return None
    return "iresnet" if spec.startswith("iresnet") else spec

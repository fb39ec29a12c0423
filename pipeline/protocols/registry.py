"""The protocols of `subspace eval`, by name: what each needs, what computes it, and what it writes.

To add one, write its file and its row here. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ...mining.errors import InputError
from ...mining.evaluation.registry import parse_metric
from .request import ProtocolRequest


@dataclass(frozen=True)
class Protocol:
    """One protocol: `module` of this folder defines `work`, called with (images, request, settings)."""

    module: str
    work: str
    says: str
    """What it measures, for the help."""
    options: frozenset[str]
    """Options that it takes, besides `metrics`."""
    metrics: tuple[str, ...]
    """What it measures unless `--metrics` says otherwise."""
    families: tuple[str, ...]
    """What the names of all its metrics begin with."""
    writes: tuple[str, ...]
    """Files of its folder, where every package is there."""
    needs: tuple[str, ...] = ()
    """Options without which it has nothing to work on."""

    def compute(self, *arguments: Any) -> Any:
        """Call its function."""
        return getattr(import_module(f".{self.module}", __package__), self.work)(*arguments)


METRICS_FILE, CURVE_FILE, QUERIES_FILE = "metrics.json", "curve.parquet", "queries.parquet"
SETS = frozenset({"query", "gallery"})

PROTOCOLS: dict[str, Protocol] = {
    "verification": Protocol(
        "verification",
        "verify_images",
        "whether two images are of one identity",
        frozenset({"threshold"}),
        (*(f"TAR@FAR=1e-{digits}" for digits in (1, 2, 3, 4, 5, 6)), "EER"),
        ("TAR@FAR=", "EER"),
        (METRICS_FILE, CURVE_FILE, "roc.png"),
    ),
    "identification": Protocol(
        "identification",
        "identify",
        "whom a probe shows, among the identities of a gallery",
        frozenset(),
        ("Rank-1", "Rank-5", "Rank-10", "DIR@FAR=1e-2", "coverage@P=0.95", "coverage@P=0.99"),
        ("Rank-", "DIR@FAR=", "coverage@P="),
        (METRICS_FILE, CURVE_FILE, "cmc.png", "dir.png", "coverage.png"),
    ),
    "retrieval": Protocol(
        "retrieval",
        "retrieve_images",
        "which images show whom a query shows, among all gallery images",
        SETS | {"rerank"},
        ("recall@1", "recall@5", "recall@10", "mAP", "mAP@R", "R-precision", "MRR", "mINP"),
        ("recall@", "mAP", "mAP@R", "R-precision", "MRR", "mINP"),
        (METRICS_FILE, QUERIES_FILE, "recall.png"),
    ),
}


def choose_protocols(names: Sequence[str], request: ProtocolRequest) -> dict[str, Protocol]:
    """The protocols of these names, which can do what is asked for.

    Raises:
        InputError: no such protocol, an option or a metric that one does not take, or one that it needs.
    """
    chosen = {}
    for name in dict.fromkeys(names):
        if name not in PROTOCOLS:
            near = get_close_matches(name, PROTOCOLS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--protocol {name}: choose from {', '.join(PROTOCOLS)}{hint}")
        chosen[name] = PROTOCOLS[name]
        _check(name, PROTOCOLS[name], request)
    return chosen


def _check(name: str, protocol: Protocol, request: ProtocolRequest) -> None:
    for option in protocol.needs:
        if option not in request.given:
            raise InputError(f"--protocol {name} needs --{option}: {protocol.says}")
    for option in request.given:
        if option not in protocol.options and option != "metrics":
            takers = [other for other, row in PROTOCOLS.items() if option in row.options]
            raise InputError(f"--{option} goes with --protocol {' or '.join(takers)}, not with {name}")
    for metric in request.metrics:
        asked = parse_metric(metric)
        if asked.family not in protocol.families:
            raise InputError(
                f"--metrics {metric}: --protocol {name} measures {', '.join(protocol.metrics)}, "
                "with numbers of your own"
            )

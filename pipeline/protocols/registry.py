"""The protocols of `subspace eval`, by name: what each needs, what computes it, and what it writes.

To add one, write its file and its row here. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    own: Mapping[str, str] = field(default_factory=dict)
    """Families of metrics that only it has, and the family of `eval.metrics` that has such numbers; "" where none."""

    def spelled(self, name: str) -> str:
        """The usual spelling of a metric of this protocol.

        Raises:
            InputError: no such metric, or one of another protocol.
        """
        for family, like in self.own.items():
            if name == family and not like:
                return name
            if like and name.startswith(family):
                number = name.removeprefix(family)
                try:
                    return family + str(parse_metric(like + number)).removeprefix(like)
                except InputError:
                    raise InputError(
                        f"--metrics {name}: give a number behind {family}, such as 1e-3"
                    ) from None
        if parse_metric(name).family not in self.families:
            known = ", ".join(self.metrics)
            raise InputError(
                f"--metrics {name}: --protocol {self.name} measures {known}, with numbers of your own"
            )
        return str(parse_metric(name))

    @property
    def name(self) -> str:
        """As `--protocol` has it."""
        return next(name for name, row in PROTOCOLS.items() if row is self)

    def compute(self, *arguments: Any) -> Any:
        """Call its function."""
        return getattr(import_module(f".{self.module}", __package__), self.work)(*arguments)


METRICS_FILE, CURVE_FILE, QUERIES_FILE = "metrics.json", "curve.parquet", "queries.parquet"
PAIRS_FILE, MANY_FILE = "pairs.parquet", "identification.parquet"
ACCURACY, VAL = "Accuracy", "VAL@FAR="
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
    "pairs": Protocol(
        "pairs",
        "compare_pairs",
        "a list that says which two images are of one identity",
        frozenset({"pairs", "root", "threshold"}),
        (ACCURACY, "VAL@FAR=1e-3", "TAR@FAR=1e-1", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "EER"),
        ("TAR@FAR=", "EER"),
        (METRICS_FILE, PAIRS_FILE, CURVE_FILE, "roc.png"),
        needs=("pairs",),
        own={ACCURACY: "", VAL: "TAR@FAR="},
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
    "templates": Protocol(
        "templates",
        "compare_templates",
        "lists of templates, sets of images of one person each",
        frozenset({"templates", "root", "threshold"}),
        (
            *(f"TAR@FAR=1e-{digits}" for digits in (1, 2, 3, 4, 5, 6)),
            "EER",
            "Rank-1",
            "Rank-5",
            "Rank-10",
            "DIR@FAR=1e-1",
            "DIR@FAR=1e-2",
        ),
        ("TAR@FAR=", "EER", "Rank-", "DIR@FAR="),
        (METRICS_FILE, CURVE_FILE, "roc.png", MANY_FILE, "cmc.png", "dir.png"),
        needs=("templates",),
    ),
}


def choose_protocols(names: Sequence[str], request: ProtocolRequest) -> dict[str, Protocol]:
    """The protocols of these names, which can do what is asked for: each option and metric is of one of them.

    Raises:
        InputError: no such protocol, an option or a metric that none takes, or an option that one needs.
    """
    chosen: dict[str, Protocol] = {}
    for name in dict.fromkeys(names):
        if name not in PROTOCOLS:
            near = get_close_matches(name, PROTOCOLS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--protocol {name}: choose from {', '.join(PROTOCOLS)}{hint}")
        chosen[name] = PROTOCOLS[name]
        for option in PROTOCOLS[name].needs:
            if option not in request.given:
                raise InputError(f"--protocol {name} needs --{option}: {PROTOCOLS[name].says}")
    for option in request.given:
        if option != "metrics" and not any(option in row.options for row in chosen.values()):
            takers = [other for other, row in PROTOCOLS.items() if option in row.options]
            raise InputError(
                f"--{option} goes with --protocol {' or '.join(takers)}, not with {', '.join(chosen)}"
            )
    for metric in request.metrics:
        if not any(_takes(row, metric) for row in chosen.values()):
            next(iter(chosen.values())).spelled(metric)  # says why
    return chosen


def metric_names(protocol: str, request: ProtocolRequest) -> list[str]:
    """The metrics of a protocol that are asked for, else its own; each once, by its usual spelling.

    >>> metric_names("pairs", ProtocolRequest(metrics=("VAL@FAR=0.001", "Accuracy", "Rank-1")))
    ['VAL@FAR=1e-3', 'Accuracy']
    """
    row = PROTOCOLS[protocol]
    asked = [name for name in request.metrics if _takes(row, name)]
    return list(dict.fromkeys(map(row.spelled, asked or row.metrics)))


def _takes(row: Protocol, metric: str) -> bool:
    try:
        row.spelled(metric)
    except InputError:
        return False
    return True

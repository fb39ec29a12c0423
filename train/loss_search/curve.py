"""A loss as a few numbers: what a search finds, and the JSON file that keeps it. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ...mining.errors import InputError
from ...mining.fingerprints import fingerprint_of
from ...mining.json_documents import Document, checked, parse_json, read_bounded

SEARCHED_PREFIX = "searched:"
"""Begins a loss that a file describes, as in `train.loss=searched:runs/photos/search-loss/curve.json`."""
MOST_BINS = 1000
LEAST_SHARE = 0.1
"""tau(p) is at least this share of p: elsewhere the loss goes on as -log p does, and no image counts more than 1 / this
times its slope."""
_WEIGHT = re.compile(r"[0-9.]+[eE][+-]?[0-9]+\s*\*")
_PLUS, _PLUS_BETWEEN_BLANKS = re.compile(r"\s*\+\s*(?=[0-9.-]*[*a-z]|[0-9])"), re.compile(r"\s+\+\s+")
Coefficients = Annotated[
    list[Annotated[float, Field(ge=-1000, le=1000)]], Field(min_length=1, max_length=MOST_BINS)
]


@dataclass(frozen=True)
class Piecewise:
    """slopes[i]·x + biases[i] in the i-th of M equal bins; it may jump between them.

    >>> Piecewise.identity(2)
    Piecewise(slopes=(1.0, 1.0), biases=(0.0, 0.0))
    """

    slopes: tuple[float, ...]
    biases: tuple[float, ...]

    @classmethod
    def identity(cls, bins: int) -> Piecewise:
        """The function that changes nothing."""
        return cls((1.0,) * bins, (0.0,) * bins)

    def at(self, x: float, low: float, high: float) -> float:
        """Its value at x, the bins between `low` and `high`.

        >>> Piecewise((1.0, 0.5), (0.0, -0.1)).at(0.8, -1, 1)
        0.30000000000000004
        """
        bins = len(self.slopes)
        place = min(bins - 1, max(0, math.floor((x - low) / (high - low) * bins)))
        return self.slopes[place] * x + self.biases[place]


IDENTITY = Piecewise.identity(1)


@dataclass(frozen=True)
class LossCurve:
    """Softmax over scaled cosines, changed by t, tau and a: -log tau(p'), with p' = p / (a·p + 1 - a) and t(c_y) in p.

    >>> LossCurve(scale=16.0).margin
    0.0
    """

    scale: float
    """s, which multiplies the cosines."""
    t: Piecewise = IDENTITY
    """On the cosine of an image to its own class, from -1 to 1."""
    tau: Piecewise = IDENTITY
    """On the probability of its own class, from 0 to 1."""
    a: float = 0.0
    """At most 0; the lower, the less of the probability is left."""

    @property
    def margin(self) -> float:
        """What `a` takes from the cosine: ln(1 - a) / s. Search-Softmax is CosFace of that margin, exactly."""
        return math.log1p(-self.a) / self.scale

    def to_json(self, **about: Any) -> dict[str, Any]:
        """The JSON object; `about` is for people and is not read."""
        return {"format": "subspace loss curve", **asdict(self), **about}


class _Piecewise(Document):
    slopes: Coefficients
    biases: Coefficients

    @model_validator(mode="after")
    def _has_both_of_every_bin(self) -> _Piecewise:
        if len(self.slopes) != len(self.biases):
            raise ValueError(f"{len(self.slopes)} slopes, but {len(self.biases)} biases")
        return self


class CurveFile(Document):
    """What a curve's file holds."""

    format: Literal["subspace loss curve"]
    scale: float = Field(ge=1e-3, le=1e4)
    t: _Piecewise
    tau: _Piecewise
    a: float = Field(le=0)


def read_curve(path: Path) -> LossCurve:
    """The curve in a JSON file.

    Raises:
        InputError: there is none, or it is no curve; one line says why.
    """
    try:
        found = checked(parse_json(read_bounded(path)), CurveFile)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        why = " ".join((getattr(error, "strerror", None) or str(error)).split())[:300]
        raise InputError(
            f"{path} is no loss curve: {why}; `subspace search-loss` writes them, as RUN/search-loss/curve.json"
        ) from error
    t, tau = (Piecewise(tuple(found[key]["slopes"]), tuple(found[key]["biases"])) for key in ("t", "tau"))
    return LossCurve(found["scale"], t, tau, found["a"])


def terms_of(expression: str) -> list[str]:
    """The terms of a sum of losses. A path may hold a +, so behind one only a + between blanks ends a term; and a weight may.

    >>> terms_of("batch_ohnm+0.5*arcface"), terms_of("searched:runs/a+b/curve.json + softmax")
    (['batch_ohnm', '0.5*arcface'], ['searched:runs/a+b/curve.json', 'softmax'])
    """
    terms, rest = [], expression.strip()
    while end := _PLUS.search(rest, weight.end() if (weight := _WEIGHT.match(rest)) else 0):
        path = rest.find(SEARCHED_PREFIX)
        if 0 <= path < end.start() and not (end := _PLUS_BETWEEN_BLANKS.search(rest, path)):
            break
        terms.append(rest[: end.start()])
        rest = rest[end.end() :]
    return [*terms, rest]


def curve_fields(section: str, expression: str) -> Mapping[str, str]:
    """What a stage's result depends on: the content of each curve's file, and the expression by it; {} without any.

    >>> curve_fields("train", "batch_ohnm"), curve_fields("train", "searched:nowhere.json")
    ({}, {'train.loss': 'searched:missing', 'train.loss.curve': 'missing'})
    """
    paths = [term.partition(SEARCHED_PREFIX)[2].strip() for term in terms_of(expression)]
    found = [_content(Path(path)) for path in paths if path]
    loss = f"{section}.loss"
    return {loss: by_content(expression, found), f"{loss}.curve": ",".join(found)} if found else {}


def by_content(expression: str, contents: Sequence[str]) -> str:
    """The expression with what the file of each curve holds in place of its path, so that a moved file is the same loss.

    >>> by_content("0.5*searched:runs/a+b/curve.json + softmax", ["1f2e"])
    '0.5*searched:1f2e + softmax'
    """
    rest = iter(contents)
    parts = [term.partition(SEARCHED_PREFIX) for term in terms_of(expression)]
    return " + ".join(
        f"{before}{prefix}{next(rest, path) if prefix else path}" for before, prefix, path in parts
    )


def _content(path: Path) -> str:
    try:
        return fingerprint_of(asdict(read_curve(path)))[:12]
    except InputError:
        return "missing"

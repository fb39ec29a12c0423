"""RUN/lr/trials.json: what each trial came to, by all that it depends on.

    {"searches": [{"fingerprint": ..., "fields": {...}, "start": {metric: {value, low, high}},
                   "best": {"rate", "metric", "value"},
                   "trials": [{"rate", "state", "steps", "metrics", "losses", "images", "seconds", "device"}]}]}

Trials with other settings, another plan or another start are another search: they stay, and count again once the settings
are set back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from ...mining.artifacts import write_json
from ...mining.fingerprints import fingerprint_of
from ...mining.json_documents import Document, known, read_document

Figures = Mapping[str, Mapping[str, float | None]]
"""Metrics by name, each with value, low and high, as validation.json has them."""
State = Literal["done", "diverged", "collapsed"]


@dataclass(frozen=True)
class Trial:
    """One training with one learning rate, and what the validation identities say of it."""

    rate: float
    state: State
    steps: int
    """Steps that it took; fewer than it was to take where it diverged or collapsed."""
    images: int
    """Images that it was trained on."""
    seconds: float
    """Training and validation together."""
    device: str
    metrics: Figures = field(default_factory=dict)
    """What the validation identities say; empty unless it is done."""
    losses: list[list[float]] = field(default_factory=list)
    """Pairs of a step and the mean loss since the pair before."""

    def figure(self, metric: str) -> float | None:
        """The value of a metric; None where the trial has none."""
        return self.metrics[metric]["value"] if metric in self.metrics else None

    @property
    def loss(self) -> float | None:
        """The mean loss of its last steps; None where it has none."""
        return self.losses[-1][1] if self.losses and self.state == "done" else None


@dataclass
class Trials:
    """The trials of one search, in the file of all searches of a run."""

    path: Path
    fields: Mapping[str, Any]
    """All that a trial depends on besides its rate."""
    start: Figures | None = None
    """What the validation identities say of the network that every trial begins with."""
    trials: list[Trial] = field(default_factory=list)
    best: Mapping[str, Any] | None = None
    """Rate, metric and value of the winner, once all trials are done."""

    @property
    def fingerprint(self) -> str:
        """A hash of the fields."""
        return fingerprint_of(self.fields)

    @classmethod
    def open(cls, path: Path, fields: Mapping[str, Any]) -> Trials:
        """Open the search with these fields; empty where there was none.

        Raises:
            StaleArtifactError: the file is damaged.
        """
        search = cls(path, fields)
        for entry in read_searches(path):
            if entry["fingerprint"] == search.fingerprint:
                search.start, search.best = entry["start"], entry["best"]
                search.trials = [known(Trial, trial) for trial in entry["trials"]]
        return search

    def of(self, rate: float) -> Trial | None:
        """The trial of a rate; None where it has not been made."""
        return next((trial for trial in self.trials if trial.rate == rate), None)

    def add(self, trial: Trial) -> None:
        """Keep a trial, by rising rate, at once on disk; who won before it is the winner of fewer."""
        self.best = None
        self.trials = sorted([*self.trials, trial], key=lambda trial: trial.rate)
        self.save()

    def keep_best(self, metric: str, trial: Trial) -> None:
        """Keep the winner, unless it is kept already."""
        best = {"rate": trial.rate, "metric": metric, "value": trial.figure(metric)}
        if best != self.best:
            self.best = best
            self.save()

    def save(self) -> None:
        """Write the file: this search last, as the newest, after those with other fields."""
        others = [entry for entry in read_searches(self.path) if entry["fingerprint"] != self.fingerprint]
        own = {
            "fingerprint": self.fingerprint,
            "fields": dict(self.fields),
            "start": self.start,
            "best": self.best,
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_json(self.path, {"searches": [*others, own]})


def read_searches(path: Path) -> list[dict[str, Any]]:
    """All searches of a file, the newest last; none where there is no file.

    Raises:
        StaleArtifactError: it is damaged.
    """
    if not path.exists():
        return []
    return read_document(path, TrialsFile, "remove it, the trials are made again")["searches"]


class _Figure(Document):
    value: float | None
    low: float | None
    high: float | None


class _Trial(Document):
    rate: float = Field(gt=0)
    state: State
    steps: NonNegativeInt
    images: NonNegativeInt
    seconds: NonNegativeFloat
    device: str
    metrics: dict[str, _Figure]
    losses: list[Annotated[list[float], Field(min_length=2, max_length=2)]]


class _Best(Document):
    rate: float
    metric: str
    value: float


class _Search(Document):
    fingerprint: str
    fields: dict[str, Any]
    start: dict[str, _Figure] | None
    best: _Best | None
    trials: list[_Trial]

    @model_validator(mode="after")
    def _best_is_one_of_them(self) -> _Search:
        if self.best is None:
            return self
        if self.start is None or self.best.metric not in self.start:
            raise ValueError(f"the start has no {self.best.metric}")
        won = [trial for trial in self.trials if trial.rate == self.best.rate and trial.state == "done"]
        if not won or self.best.metric not in won[0].metrics:
            raise ValueError(f"no trial has the rate {self.best.rate:g} and a {self.best.metric}")
        return self


class TrialsFile(Document):
    """What trials.json holds."""

    searches: list[_Search]

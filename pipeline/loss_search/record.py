"""RUN/search-loss/search.json: what a search depends on, and what every finished epoch of it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from ...mining.artifacts import write_json
from ...mining.errors import InputError, StaleArtifactError
from ...mining.fingerprints import fingerprint_of
from ...mining.json_documents import Document, known, read_document
from ...train.loss_search.distribution import Outcome
from ..learning_rate.trials import State
from .request import OPTIONS


@dataclass(frozen=True)
class Candidate:
    """One loss of one epoch, and what its training came to."""

    theta: list[float]
    state: State
    reward: float | None
    """The metric on the validation identities; None unless it is done."""
    seconds: float
    """Training and validation together."""


@dataclass(frozen=True)
class Epoch:
    """One epoch that is finished."""

    candidates: list[Candidate]
    best: int
    """The candidate with the highest reward, of equal ones the first: the next epoch begins with its weights."""

    @property
    def outcome(self) -> Outcome:
        """What the distribution learns from."""
        theta_BD = np.array([candidate.theta for candidate in self.candidates], np.float64)
        return Outcome(theta_BD, [candidate.reward for candidate in self.candidates])


@dataclass
class SearchRecord:
    """The file of a search."""

    path: Path
    fields: Mapping[str, Any]
    """All that its results depend on."""
    again: str = ""
    """The command that searches anew."""
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the fields."""
        return fingerprint_of(self.fields)

    @classmethod
    def open(cls, path: Path, fields: Mapping[str, Any], again: str) -> SearchRecord:
        """Open the search with these fields; empty where there was none.

        Args:
            again: the command that searches anew.

        Raises:
            StaleArtifactError: there is a search with other fields, or the file is damaged.
        """
        record = cls(path, fields, again)
        if not path.exists():
            return record
        found = read_document(path, SearchFile, f"search again: `{again}`")
        if found["fingerprint"] != record.fingerprint:
            before = found["fields"]
            changed = next((key for key in (*fields, *before) if before.get(key) != fields.get(key)), "it")
            then, now = (_in_words(side.get(changed, "not set")) for side in (before, fields))
            called = f"--{changed} {then}" if changed in OPTIONS else f"{changed}={then}"
            raise StaleArtifactError(
                f"{path} is of a search with {called}, now it is {now}; set it back, or search again: `{again}`"
            )
        for epoch in found["epochs"]:
            candidates = [known(Candidate, candidate) for candidate in epoch["candidates"]]
            record.epochs.append(Epoch(candidates, epoch["best"]))
        return record

    def add(self, candidates: list[Candidate]) -> Epoch:
        """Keep an epoch, at once on disk.

        Raises:
            InputError: all of its candidates failed.
        """
        rewards = [each.reward for each in candidates]
        known_rewards = [reward for reward in rewards if reward is not None]
        if not known_rewards:
            raise InputError(
                f"all {len(candidates)} candidates of epoch {len(self.epochs) + 1} diverged or collapsed; lower --sigma or "
                "train.optimizer.lr"
            )
        self.epochs.append(Epoch(candidates, rewards.index(max(known_rewards))))
        epochs = [asdict(epoch) for epoch in self.epochs]
        write_json(
            self.path,
            {"fingerprint": self.fingerprint, "fields": dict(self.fields), "epochs": epochs},
        )
        return self.epochs[-1]


def _in_words(value: Any) -> str:
    return "given" if value is True else str(value)[:40]


class CandidateFile(Document):
    """What result.json of a candidate holds, and search.json of each."""

    theta: list[float] = Field(min_length=1)
    state: State
    reward: float | None
    seconds: NonNegativeFloat
    search: str | None = None
    """Fingerprint of the search that it is of; search.json, which has one, repeats it nowhere."""

    @model_validator(mode="after")
    def _is_rewarded_when_done(self) -> CandidateFile:
        if (self.state == "done") != (self.reward is not None):
            raise ValueError(f"a candidate that is {self.state} has the reward {self.reward}")
        return self


class _Epoch(Document):
    candidates: list[CandidateFile] = Field(min_length=1)
    best: NonNegativeInt

    @model_validator(mode="after")
    def _best_is_one_of_them(self) -> _Epoch:
        if self.best >= len(self.candidates) or self.candidates[self.best].reward is None:
            raise ValueError(f"candidate {self.best} is not its best")
        if len({len(candidate.theta) for candidate in self.candidates}) > 1:
            raise ValueError("its candidates have different numbers of numbers")
        return self


class SearchFile(Document):
    """What search.json holds."""

    fingerprint: str
    fields: dict[str, Any]
    epochs: list[_Epoch]

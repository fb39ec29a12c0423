"""One candidate of an epoch: its loss, its training from the epoch's weights, and its reward."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...mining.artifacts import remove, write_json
from ...mining.errors import InputError, StaleArtifactError
from ...mining.json_documents import known, read_document
from ...train.checkpoint import load_state, save_checkpoint
from ...train.loss_search.curve import SEARCHED_PREFIX
from ...train.loss_search.spaces import Space
from ...train.training_config import ReclusterConfig
from ..configuration.config import RunConfig
from ..learning_rate.trial_training import examine_trained, shortened, train_watched
from ..stage_folder import CHECKPOINT
from ..stages.context import Context
from ..stages.graph import row
from ..stages.round_training import build_round_training
from ..stages.training_processes import training_device
from .record import Candidate, CandidateFile


@dataclass(frozen=True)
class Candidacy:
    """A candidate to be trained: all that its result is a function of, besides the run."""

    folder: Path
    """RUN/search-loss/epoch-003/candidate-1."""
    space: Space
    theta: np.ndarray
    begin_with: Path | None
    """Checkpoint of the best of the epoch before; None: the start of the round."""
    steps: range
    """Batches of the plan."""
    of: int
    """Steps of the whole search, which the learning-rate schedule spans."""
    search: str
    """Fingerprint of all that the search depends on."""
    again: str
    """The command that searches anew."""

    @property
    def checkpoint(self) -> Path:
        """Weights, class vectors and optimiser at its end."""
        return self.folder / CHECKPOINT

    @property
    def result(self) -> Path:
        """Its result; written last."""
        return self.folder / "result.json"

    def read(self) -> Candidate | None:
        """Its result; None where there is none yet, or one of other numbers or of another search.

        Raises:
            StaleArtifactError: the file is damaged.
        """
        if not self.result.exists():
            return None
        found = read_document(self.result, CandidateFile, "remove it, the candidate is trained again")
        done = known(Candidate, found)
        return done if (done.theta, found.get("search")) == (self.theta.tolist(), self.search) else None


def settings_of_search(config: RunConfig, steps: int, loss: str) -> RunConfig:
    """The settings of a run of one round of `steps` steps with another loss."""
    optimizer = shortened(config.train.optimizer, steps, config.total_steps)
    update: Mapping[str, Any] = {
        "rounds": 1,
        "plan": config.plan.model_copy(update={"steps": steps}),
        "train": config.train.model_copy(update={"optimizer": optimizer, "loss": loss, "loss_args": {}}),
        "recluster": ReclusterConfig(refresh="extract"),  # running means move no weights
    }
    return config.model_copy(update=update)


def train_candidate(context: Context, candidacy: Candidacy) -> Candidate:
    """Train one candidate and examine what comes of it; its weights and its result are on disk then.

    A function of run and candidacy: on a CPU, with the same number of threads, the same numbers each time.

    Raises:
        InputError: an image that cannot be read, where the settings say fail.
        StoppedEarly: a signal, or too many images cannot be read; of this candidate nothing is kept.
    """
    began, config = time.monotonic(), context.config
    remove(candidacy.folder)
    curve = candidacy.folder / "curve.json"
    write_json(curve, candidacy.space.curve(candidacy.theta).to_json())
    of_candidate = settings_of_search(config, candidacy.of, f"{SEARCHED_PREFIX}{curve}")
    training = build_round_training(replace(context, config=of_candidate), row("train").stage(context))
    device = training_device(context.options.device)
    training.network.to(device)
    training.loss.to(device)
    if candidacy.begin_with is not None:
        try:
            load_state(candidacy.begin_with, training.state)
        except InputError as error:
            raise StaleArtifactError(f"{error}; search again: `{candidacy.again}`") from error
    name = f"{candidacy.folder.parent.name}/{candidacy.folder.name}"
    ended = train_watched(training, context, candidacy.steps, name)
    metrics = examine_trained(context, training, ended)
    reward = metrics[config.early_stop.metric]["value"] if metrics else None
    if reward is not None:
        meta = replace(training.meta, step=candidacy.steps.stop)
        save_checkpoint(candidacy.checkpoint, training.state, meta)
    elif ended.state == "done":
        raise InputError(
            f"early_stop.metric={config.early_stop.metric} is not known for so few validation identities"
        )
    seconds = round(time.monotonic() - began, 3)
    done = Candidate(candidacy.theta.tolist(), ended.state, reward, seconds)
    write_json(candidacy.result, {**asdict(done), "search": candidacy.search})
    return done

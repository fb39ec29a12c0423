"""All trackers of a training, opened by name and used as one.

A resumed training continues its runs of W&B and MLflow: their ids are in `trackers.json` of its folder, valid
for one fingerprint, and beside them the last step that each had been shown. A training that is killed twice before
it saves goes back behind the first end, which metrics.jsonl has no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ...mining.artifacts import write_json
from ...mining.errors import InputError
from ...mining.json_documents import Document, read_document
from ..training_config import TrackerName
from .trackers import MLflow, TensorBoard, TrackedRun, Tracker, WeightsAndBiases

IDS = "trackers.json"

_PACKAGES: dict[TrackerName, str] = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow-skinny sqlalchemy alembic",
}


class Trackers:
    """Several trackers as one. One that fails is left out from then on: a training is worth more than its curves.

    Args:
        say: called with a line for each one that fails.
        steps_before: added to every step, so that all trainings of a run are on one axis.
        shown: the last step, before that is added, that a tracker has already; it is not told it again.
    """

    def __init__(
        self,
        trackers: Mapping[str, Tracker],
        say: Callable[[str], None],
        steps_before: int = 0,
        shown: Mapping[str, int] | None = None,
    ) -> None:
        self._trackers, self._say = dict(trackers), say
        self._before, self._shown = steps_before, dict(shown or {})
        self.all_told = True
        """Whether none has failed so far."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers in all of them."""
        self._tell(step, lambda tracker, at: tracker.scalars(at, values))

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Show the finite ones of some values, if there are any, in all of them."""
        finite = values[np.isfinite(values)]
        if len(finite):
            self._tell(step, lambda tracker, at: tracker.histogram(at, name, finite))

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Show a picture in all of them."""
        self._tell(step, lambda tracker, at: tracker.image(at, name, pixels))

    def close(self) -> None:
        """Close all of them."""
        self._tell(None, lambda tracker, at: tracker.close())
        self._trackers.clear()

    def _tell(self, step: int | None, call: Callable[[Tracker, int], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            if step is not None and step <= self._shown.get(name, -1):
                continue
            try:
                call(tracker, self._before + (step or 0))
            except Exception as error:  # whatever its client raises: no network, no disk, a bug
                del self._trackers[name]
                self.all_told = False
                self._say(f"{name} failed ({_one_line(error)}); training goes on without it")


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raise an InputError where a tracker's package is not installed; imports none of them."""
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name, such as W&B's own, is no package
            raise InputError(
                f"tracker {name} is not installed; `pip install {_PACKAGES[name]}`, or leave it out of `trackers`"
            )


def begin_trackers(names: Sequence[TrackerName], run: TrackedRun, say: Callable[[str], None]) -> Trackers:
    """Begin or continue the run in every tracker named.

    Raises:
        InputError: a package is missing, or its service refuses.
        StaleArtifactError: trackers.json is damaged.
    """
    check_trackers(names)
    path = run.folder / IDS
    kept = read_tracker_ids(path) if path.exists() else {}
    if kept.get("fingerprint") != run.fingerprint:
        kept = {}
    ids: dict[str, str] = kept.get("ids", {})
    before: dict[str, int] = kept.get("last_shown", {})
    # TensorBoard drops what comes again
    shown = {name: max(run.last_shown, before.get(name, -1)) for name in ids}
    opened: dict[str, Tracker] = {}
    try:
        for name in names:
            try:
                if name == "tensorboard":
                    opened[name] = TensorBoard(run)
                else:
                    tracker = (WeightsAndBiases if name == "wandb" else MLflow)(run, ids.get(name))
                    opened[name], ids[name] = tracker, tracker.run_id
            except Exception as error:  # their clients raise what they like
                Trackers(opened, say).close()
                ways = [
                    "`wandb login`, WANDB_MODE=offline" if name == "wandb" else "check MLFLOW_TRACKING_URI"
                ]
                if name in ids:
                    ways.append(f"remove {path} to begin a new run there")
                raise InputError(
                    f"tracker {name} cannot begin: {_one_line(error)}; {', '.join(ways)}, or leave it out of `trackers`"
                ) from error
    finally:
        if ids:  # the next try goes on with the runs that have begun, though another could not
            write_json(path, {"fingerprint": run.fingerprint, "ids": ids, "last_shown": shown})
    return Trackers(opened, say, run.steps_before, shown)


class TrackerIds(Document):
    """What trackers.json holds: the numbers of a training's runs elsewhere, valid for one fingerprint."""

    fingerprint: str
    ids: dict[str, str]
    last_shown: dict[str, int] = Field(default={})
    """The last step that each may have had when the training last began, -1 for none; earlier versions wrote none."""


def read_tracker_ids(path: Path) -> dict[str, Any]:
    """A trackers.json.

    Raises:
        InputError: there is none.
        StaleArtifactError: damaged.
    """
    return read_document(path, TrackerIds, "remove it, and the training begins new runs in its trackers")


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()).rstrip(".") or type(error).__name__)[:200]

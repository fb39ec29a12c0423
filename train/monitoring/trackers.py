"""Where a training is watched: TensorBoard, Weights & Biases, MLflow, behind one small interface.

Each is imported when it is used. W&B and MLflow follow their own environment variables
(WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME); without a tracking
URI, MLflow writes `mlflow.db` and `mlartifacts/` in the folder above.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NOT_OF_MLFLOW = re.compile(r"[^\w\-. :/]")
MLFLOW_PARAMS_AT_ONCE = 100


class Tracker(Protocol):
    """Where a training sends its curves and pictures; `step` counts from 0."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers by their names."""
        ...

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Show how float[n] values are spread; finite, n > 0."""
        ...

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Show a picture, uint8[H, W, 3]."""
        ...

    def close(self) -> None:
        """Write what is still waiting."""
        ...


@dataclass(frozen=True)
class TrackedRun:
    """Which training it is."""

    folder: Path
    """Gets `tensorboard/` and `wandb/`."""
    fingerprint: str
    """Fingerprint of what the training is made from; a run elsewhere is continued under the same one."""
    config: Mapping[str, Any]
    """Shown as the run's settings."""
    first_step: int = 0
    """Where it (re)starts; TensorBoard then hides what it has of later steps."""
    steps_before: int = 0
    """Steps of the run before this training: its step 0 is there on the axis of all of them."""
    last_shown: int = -1
    """The last step that an interrupted training has written; W&B and MLflow, which keep all, are not told it again."""

    @property
    def project(self) -> str:
        """Name of the run folder."""
        return self.folder.resolve().parent.name

    @property
    def name(self) -> str:
        """Name of the round's folder."""
        return self.folder.resolve().name


class TensorBoard:
    """Event files in `folder/tensorboard`."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._events = SummaryWriter(
            str(run.folder / "tensorboard"), purge_step=run.steps_before + run.first_step
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A curve for each name."""
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Under Distributions and Histograms."""
        self._events.add_histogram(name, values, step)

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Under Images."""
        self._events.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Close the event file."""
        self._events.close()


class WeightsAndBiases:
    """A W&B run; its files, and offline runs to be sent with `wandb sync`, are in `folder/wandb`.

    W&B's own step never goes back, so `step` is a value of its own and the axis of every curve.
    """

    def __init__(self, run: TrackedRun, run_id: str | None) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or run.project,
            name=run.name,
            id=run_id,
            resume="allow",
            dir=run.folder,
            config=dict(run.config),
            # what is printed belongs to the progress bar and to --json
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="step")

    @property
    def run_id(self) -> str:
        """What W&B calls the run."""
        return self._run.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A panel for each name."""
        self._run.log({**values, "step": step})

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """64 bins."""
        bins = self._wandb.Histogram(np_histogram=np.histogram(values, bins=64))
        self._run.log({name: bins, "step": step})

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """A media panel."""
        self._run.log({name: self._wandb.Image(pixels), "step": step})

    def close(self) -> None:
        """Wait until everything is sent, or written where offline."""
        self._run.finish()


class MLflow:
    """An MLflow run, through the client alone: no global active run. Histograms become five quantiles.

    It takes no @ and no = in a name: TAR@FAR=1e-3 is `TAR at FAR 1e-3` there.
    """

    def __init__(self, run: TrackedRun, run_id: str | None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        import mlflow  # pyright: ignore[reportMissingImports]

        self._entities = mlflow.entities
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs how it makes its tables
        above = run.folder.resolve().parent
        store = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = mlflow.MlflowClient(store or f"sqlite:///{above / 'mlflow.db'}")
        if run_id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.project
            found = self._client.get_experiment_by_name(name)
            # a server knows where its artifacts go; the local store would choose the working directory
            place = None if store else (above / "mlartifacts").as_uri()
            experiment = found.experiment_id if found else self._client.create_experiment(name, place)
            self.run_id = self._client.create_run(experiment, run_name=run.name).info.run_id
            params = [self._entities.Param(key, str(value)) for key, value in _flat(run.config)]
            for first in range(0, len(params), MLFLOW_PARAMS_AT_ONCE):
                self._client.log_batch(self.run_id, params=params[first : first + MLFLOW_PARAMS_AT_ONCE])
        else:
            self._client.update_run(run_id, status="RUNNING")
            self.run_id = run_id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A metric for each name."""
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(mlflow_name(name), value, now, step) for name, value in values.items()
        ]
        self._client.log_batch(self.run_id, metrics=metrics)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """A metric for each quantile, `NAME/p05` and so on."""
        quantiles = np.quantile(values, QUANTILES)
        self.scalars(
            step, {f"{name}/p{100 * q:02.0f}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}
        )

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """An image with a slider over the steps."""
        self._client.log_image(self.run_id, pixels, key=mlflow_name(name), step=step)

    def close(self) -> None:
        """Mark the run as finished; resuming opens it again."""
        self._client.set_terminated(self.run_id)


def mlflow_name(name: str) -> str:
    """A name of ours in the letters that MLflow takes.

    >>> mlflow_name("validation/TAR@FAR=1e-3"), mlflow_name("subspaces/r@10")
    ('validation/TAR at FAR 1e-3', 'subspaces/r at 10')
    """
    return _NOT_OF_MLFLOW.sub("_", name.replace("@", " at ").replace("=", " "))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

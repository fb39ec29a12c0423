"""The log of a training and its trackers, at the place of that training on the axis of the run.

The axis counts the steps of the starting network first, then those of round after round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...mining.manifest import Manifest
from ...train.monitoring.metrics_file import read_metrics
from ...train.monitoring.open_trackers import begin_trackers
from ...train.monitoring.trackers import TrackedRun
from ...train.training_config import LoaderConfig
from ..stage_folder import StageFolder
from ..terminal_text import printable_line

if TYPE_CHECKING:
    from ...train.losses.loss import EmbeddingLoss
    from ...train.monitoring.line_window import LineWindow
    from ...train.monitoring.metrics_log import MetricsLog
    from ...train.monitoring.phase_clock import Phases


def steps_of_start(settings: Mapping[str, Any]) -> int:
    """Steps of the axis that the starting network takes, by the settings of the run."""
    return settings["pretrain"]["steps"]


def open_log(
    folder: StageFolder,
    fingerprint: str,
    settings: Mapping[str, Any],
    loader: LoaderConfig,
    loss: EmbeddingLoss,
    *,
    step: int,
    steps: int,
    rounds_before: int,
    phases: Phases,
    names_of: Callable[[np.ndarray], list[str]] | None,
    say: Callable[[str], None],
    window: LineWindow | None = None,
) -> MetricsLog:
    """Open metrics.jsonl of a training and its trackers.

    Args:
        folder: of the training.
        settings: of the run.
        step: where it (re)starts.
        steps: of its plan; pictures are shown of the first, the middle and the last, too.
        rounds_before: steps of the rounds before.
        names_of: image ids to the names of their identities.
        say: called with what people must know of trackers.
        window: the steps before `step` that no line has yet; None: there are none.

    Raises:
        InputError: a tracker cannot begin.
        StaleArtifactError: metrics.jsonl or trackers.json is damaged.
    """
    from ...train.monitoring.metrics_log import MetricsLog  # torch: a plan only asks here for the axis

    written = read_metrics(folder.metrics)
    run = TrackedRun(
        folder.path,
        fingerprint,
        settings,
        step,
        0 if folder.index < 0 else steps_of_start(settings) + rounds_before,
        int(written[-1]["step"] or 0) if written else -1,
    )
    return MetricsLog(
        folder.path,
        step,
        begin_trackers(loader.trackers, run, say),
        phases,
        loader.pictures_every,
        window=window,
        pictures_at=(0, steps // 2, steps - 1),
        class_vectors=loss.class_vectors,
        names_of=names_of,
    )


def identity_names(manifest: Manifest, image_id: np.ndarray) -> list[str]:
    """The identities of images in one line each, with nothing in them that a terminal or a page obeys.

    Args:
        image_id: int64[n], in any order.
    """
    names = manifest.rows_of(image_id, ["identity"])["identity"].to_pylist()
    return [printable_line(str(name)) for name in names]

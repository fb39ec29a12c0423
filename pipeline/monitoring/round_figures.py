"""Figures of every round for trackers: how good the network is, how hard its batches are, how well subspaces are cut.

Each is shown once, when its stage is done, in a run of their own called `rounds`, on the axis of the trainings'
steps: what a plan is made from stands at its first step, what a network is worth at its last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ...mining.artifacts import make_folder, write_json
from ...mining.errors import InputError, StaleArtifactError
from ...mining.json_documents import Document, read_document
from ...train.training_config import TrackerName
from ..run_directory import RunDirectory
from ..stage_folder import StageFolder

SHOWN = "shown.json"
FIGURES = {
    "cluster": {
        "recall@10": "subspaces/r@10",
        "gain": "subspaces/look-alikes per batch against random",
        "kept": "subspaces/adjusted Rand index to the round before",
    },
    "plan": {"hardness": "batches/hardness", "random_hardness": "batches/hardness of random ones"},
}
"""Which figures of a stage's summary are shown, and as what; of `validate` and `eval` all metrics."""
GROUPS = {"validate": "validation", "eval": "test"}
AT_END = frozenset(GROUPS)
"""Stages that look at a network when its training is over."""


class Shown(Document):
    """What shown.json holds: the fingerprint of each stage whose figures trackers have, by its place."""

    shown: dict[str, str] = Field(default={})


def figures_of_stage(stage: str, summary: Mapping[str, Any]) -> dict[str, float]:
    """The curves that the summary of a stage's marker adds a point to.

    Example:
        >>> figures_of_stage("plan", {"batches": 400, "hardness": 0.4, "random_hardness": 0.2})
        {'batches/hardness': 0.4, 'batches/hardness of random ones': 0.2}
        >>> figures_of_stage("validate", {"Rank-1": 0.9, "unreadable_images": 0})
        {'validation/Rank-1': 0.9}
    """
    return dict(_figures(stage, summary))


def _figures(stage: str, summary: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    known = {name: value for name, value in summary.items() if isinstance(value, int | float)}
    if stage in GROUPS:
        known.pop("unreadable_images", None)
        yield from ((f"{GROUPS[stage]}/{name}", value) for name, value in known.items())
        return
    yield from ((tag, known[name]) for name, tag in FIGURES.get(stage, {}).items() if name in known)
    if stage == "cluster" and known.get("identities"):
        share = known.get("in_duplicates", 0) / known["identities"]
        yield "subspaces/identities with a suspected duplicate", share


def show_round(
    run: RunDirectory,
    folder: StageFolder,
    steps: tuple[int, int],
    trackers: Sequence[TrackerName],
    settings: Mapping[str, Any],
    say: Callable[[str], None],
) -> None:
    """Show the figures of all stages of a folder that are done and not yet shown; a tracker that fails is said.

    Args:
        steps: where on the axis the training of the folder begins and ends.
        settings: of the run.
        say: called with what people must know of trackers.
    """
    if not trackers:
        return
    told = run.tracked / SHOWN
    shown: dict[str, str] = read_document(told, Shown, f"remove {told}")["shown"] if told.exists() else {}
    records = {stage: folder.record(stage) for stage in (*FIGURES, *GROUPS) if folder.finished(stage)}
    for name in trackers:
        places = {stage: f"{folder.name}/{stage}" for stage in records}
        new = {
            stage: record
            for stage, record in records.items()
            # earlier versions kept one place for all trackers
            if record["fingerprint"] not in (shown.get(f"{name}: {places[stage]}"), shown.get(places[stage]))
        }
        if not new:
            continue
        make_folder(run.tracked)
        if name == "tensorboard":
            for stage, record in new.items():
                if figures := figures_of_stage(stage, record["summary"]):
                    _to_tensorboard(run.tracked, f"{folder.name}.{stage}", steps[stage in AT_END], figures)
        elif not _to_other(run, name, steps, new, settings, say):
            continue  # the next command tells it again
        shown |= {f"{name}: {places[stage]}": record["fingerprint"] for stage, record in new.items()}
        write_json(told, {"shown": shown})


def _to_tensorboard(folder: Path, of: str, step: int, figures: Mapping[str, float]) -> None:
    """An event file of its own, which takes the place of one that was made from other settings."""
    from torch.utils.tensorboard import SummaryWriter

    events = folder / "tensorboard"
    for older in events.glob(f"events.*.{of}"):
        older.unlink()
    with SummaryWriter(str(events), filename_suffix=f".{of}") as writer:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)


def _to_other(
    run: RunDirectory,
    name: TrackerName,
    steps: tuple[int, int],
    new: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    say: Callable[[str], None],
) -> bool:
    """Tell W&B or MLflow, and return whether it has all of it."""
    from ...train.monitoring.open_trackers import begin_trackers
    from ...train.monitoring.trackers import TrackedRun

    start = run.start.record("pretrain")["fingerprint"] if run.start.finished("pretrain") else ""
    try:
        opened = begin_trackers([name], TrackedRun(run.tracked, start, settings), say)
    except (InputError, StaleArtifactError) as error:
        say(f"figures of the round are not shown yet: {error}")
        return False
    for stage, record in new.items():
        if figures := figures_of_stage(stage, record["summary"]):
            opened.scalars(steps[stage in AT_END], figures)
    opened.close()
    return opened.all_told

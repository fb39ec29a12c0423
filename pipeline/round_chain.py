"""Which rounds of a run follow from its starting network as it is, and which an earlier run has left behind."""

from __future__ import annotations

from .run_directory import RunDirectory
from .stage_folder import StageFolder


def current_rounds(run: RunDirectory) -> list[int]:
    """Indices of the rounds that follow one from the other, ascending, one under way among them.

    A round is left over where it was made from another network than the one before has now, as after a longer run that was
    begun anew with fewer rounds, and so are all rounds after it. One that is made anew counts again when its training begins.

    Raises:
        StaleArtifactError: a marker is damaged.
    """
    found = []
    for index in run.rounds:
        if not _follows(run, index):
            break
        found.append(index)
        if not run.round(index).finished("train"):
            break
    return found


def is_measured(folder: StageFolder, stage: str) -> bool:
    """Whether `validate` or `eval` has ended here, and measured the network that was made last, as far as markers say.

    Raises:
        StaleArtifactError: a marker is damaged.
    """
    return folder.finished(stage) and _is_by(folder, folder, stage)


def left_over(run: RunDirectory) -> list[str]:
    """Folders of the rounds that have begun and are not current."""
    current = current_rounds(run)
    return [run.round(index).name for index in run.rounds if index not in current]


def left_over_in_words(folders: list[str]) -> str:
    """The end of a line that names them.

    >>> left_over_in_words(["round-001", "round-002"])
    'round-001, round-002: made from another network than lies before it now; not counted'
    """
    return f"{', '.join(folders)}: made from another network than lies before it now; not counted"


def _follows(run: RunDirectory, index: int) -> bool:
    here = run.round(index)
    made = [stage for stage in ("extract", "train") if here.finished(stage)]
    return all(_is_by(run.network(index), here, stage) for stage in made)


def _is_by(network: StageFolder, folder: StageFolder, stage: str) -> bool:
    """Whether a finished stage of `folder` had the network that lies in `network`; True where no marker says otherwise."""
    had = folder.record(stage)["fields"].get("network")
    maker = "pretrain" if network.index < 0 else "train"
    return had is None or not network.finished(maker) or had == network.record(maker)["fingerprint"]

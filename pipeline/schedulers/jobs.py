"""What is left of a run, as jobs: one after another, each made of commands that anyone could type.

    pretrain, eval of the start; then in each round: extract in shards, cluster (merges the shards first), plan, train, eval

A scheduler only says when and where they run. Whether a job's work is done is said by the completion markers of its
stages, with their fingerprints, whatever the scheduler says of the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...mining.errors import StaleArtifactError
from ...mining.manifest import Manifest
from ..config import RunConfig
from ..due import over_before
from ..run_directory import RunDirectory
from ..schedule_config import ScheduledStage
from ..stages.extract import extract_stage
from ..stages.extract_parts import ExtractParts
from ..status import stage_statuses


@dataclass(frozen=True)
class Job:
    """Work of one stage in one folder of a run."""

    stage: ScheduledStage
    folder: str
    commands: tuple[tuple[str, ...], ...]
    """Arguments of `subspace`, done one after another."""
    shards: tuple[int, ...] = ()
    """An array of jobs: each does the commands with --shard and one of these."""
    num_shards: int = 0
    purpose: str = ""
    """What its name says where that is not the stage, which says what it asks for."""

    @property
    def name(self) -> str:
        """Of its script and its log."""
        return f"{self.folder}-{self.purpose or self.stage}"


def jobs_left(
    run: RunDirectory, config: RunConfig, manifest: Manifest, overrides: tuple[str, ...], scheduler: str
) -> list[Job]:
    """Jobs for all that is not done, in order; each waits for the one before. Empty: the run is done.

    Raises:
        StaleArtifactError: a stage that the run needs is done with other settings or inputs.
    """
    todo: dict[str, set[str]] = {}
    for status in stage_statuses(run, config, manifest):
        if status.state == "done" or over_before(run, config, _index(status.folder)):
            continue
        if status.state == "stale":
            raise StaleArtifactError(status.note)
        todo.setdefault(status.folder, set()).add(status.stage)
    of_stages = tuple(override for override in overrides if not override.startswith("schedule."))
    left = list(_jobs(run, config, manifest, todo, of_stages))
    if left and config.recluster.stale_below is not None:
        # Stale subspaces end rounds early, so that there may be more rounds than were submitted.
        again = ("submit", str(run.path.resolve()), *overrides, f"schedule.scheduler={scheduler}")
        left.append(Job("plan", left[-1].folder, (again,), purpose="more"))
    return left


def _jobs(
    run: RunDirectory,
    config: RunConfig,
    manifest: Manifest,
    todo: dict[str, set[str]],
    overrides: tuple[str, ...],
) -> Iterator[Job]:
    path = str(run.path.resolve())
    for folder, stages in todo.items():
        index = _index(folder)
        at = () if folder == run.start.name else ("--round", str(index), "--if-due")
        if "pretrain" in stages:
            yield Job("pretrain", folder, (("pretrain", path, *overrides),))
        if "extract" in stages:
            yield from _extract_jobs(run, config, manifest, index, ("extract", path, *at, *overrides))
        if stages & {"extract", "cluster"}:
            yield Job(
                "cluster", folder, (("extract", path, *at, *overrides), ("cluster", path, *at, *overrides))
            )
        for stage in ("plan", "train"):
            if stage in stages:
                yield Job(stage, folder, ((stage, path, *at, *overrides),))
        if stages & {"validate", "eval"}:
            yield Job("eval", folder, (("eval", path, *overrides),))


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each unbroken run of rising numbers: 0..2 and 5..5 of 0, 1, 2, 5."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _index(folder: str) -> int:
    """The round of a folder, 0 for the starting network's."""
    return int(folder.removeprefix("round-")) if folder.startswith("round-") else 0


def _extract_jobs(
    run: RunDirectory, config: RunConfig, manifest: Manifest, index: int, command: tuple[str, ...]
) -> Iterator[Job]:
    """The shards that are missing; none where the means come from training."""
    if index > 0 and config.recluster.refresh == "running":
        return
    parts = extract_parts(run, config, manifest, index)
    count = min(config.schedule.shards or len(parts), len(parts))
    missing = sorted({part % count for part in parts.missing()})
    if missing:
        yield Job("extract", run.round(index).name, (command,), tuple(missing), count)


def extract_parts(run: RunDirectory, config: RunConfig, manifest: Manifest, index: int) -> ExtractParts:
    """The parts of a round's extraction; while its network is not there, none of them counts as finished."""
    known = (run.network(index) / "done" / ("train.json" if index else "pretrain.json")).exists()
    fingerprint = extract_stage(run, config, index, manifest.fingerprint).fingerprint if known else ""
    identities = manifest.identities_in(config.data.train_splits)
    return ExtractParts(run.round(index), identities, config.extract, fingerprint)

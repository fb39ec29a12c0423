"""One folder of a run in which stages work, and the names of what lies in it. No other file spells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..mining.local_paths import in_shell

START = "start"
ROUND = "round-"

IDENTITIES = "identities.parquet"
IDENTITY_PARTS = "identities.parts"
EMBEDDINGS = "embeddings.parquet"
QUARANTINE = "quarantine.parquet"
SUBSPACES = "subspaces.parquet"
CENTROIDS = "centroids.parquet"
DUPLICATES = "duplicates.parquet"
PLAN = "plan"
CHECKPOINT = "checkpoint"
RESUME = "resume"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
TRACKERS = "trackers.json"
VALIDATION = "validation.json"
EVALUATION = "evaluation.json"
MISTAKES = "mistakes.parquet"
EXPORT = "export"
LOSS_SEARCH = "search-loss"
CLEANING = "cleaning"
KEEP = "keep.parquet"
SUSPECTS = "suspects.parquet"


@dataclass(frozen=True)
class StageFolder:
    """A folder in which stages work: the starting network's, or a round's."""

    path: Path
    index: int
    """The round, from 0; -1 for the starting network."""

    @property
    def name(self) -> str:
        """start, round-000, round-001, ..."""
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def file(self, name: str) -> Path:
        """A file or folder of the stages that work here."""
        return self.path / name

    def marker(self, stage: str) -> Path:
        """The completion marker of a stage."""
        return self.path / "done" / f"{stage}.json"

    @property
    def only_cleaned(self) -> bool:
        """Whether `subspace clean` made it and nothing else has worked there."""
        names = {path.name for path in self.path.iterdir()}
        done = {path.name for path in self.marker("").parent.iterdir()} if "done" in names else set()
        return (
            CLEANING in names and not names - {CLEANING, KEEP, SUSPECTS, "done"} and not done - {"clean.json"}
        )

    def finished(self, stage: str) -> bool:
        """Whether a stage has ended here, with whatever settings."""
        return self.marker(stage).exists()

    def record(self, stage: str) -> dict[str, Any]:
        """What a stage's completion marker says: fingerprint, fields, seconds, summary.

        Raises:
            InputError: it has not ended.
            StaleArtifactError: the marker is damaged.
        """
        from .records.marker import read_marker  # pydantic is imported where a file is read

        return read_marker(self.marker(stage), stage, self.remedy(stage))

    def examined(self, stage: str) -> dict[str, Any]:
        """What `validate` or `eval` measured here: its fingerprint, and metrics by name.

        Raises:
            InputError: nothing was measured.
            StaleArtifactError: the file is damaged.
        """
        from .records.examination import read_examination

        file = self.validation if stage == "validate" else self.evaluation
        return read_examination(file, self.remedy(stage))

    def is_of(self, manifest_fingerprint: str, stage: str) -> bool:
        """Whether a stage here read that manifest, whose row numbers its files hold; True where nothing says otherwise.

        `cluster` reads it by the means, which must be those that lie here.

        Raises:
            StaleArtifactError: its marker is damaged.
        """
        fields = self.record(stage)["fields"] if self.finished(stage) else {}
        if means := fields.get("identities"):
            is_made = self.finished("extract")
            return (
                is_made
                and means == self.record("extract")["fingerprint"]
                and self.is_of(manifest_fingerprint, "extract")
            )
        return fields.get("manifest") in (None, manifest_fingerprint)

    @property
    def trained_with(self) -> str | None:
        """The fingerprint of the manifest that the network here was trained with; None where nothing says it.

        Raises:
            StaleArtifactError: the marker is damaged.
        """
        stage = "train" if self.index >= 0 else "pretrain"
        return self.record(stage)["fields"].get("manifest") if self.finished(stage) else None

    def remedy(self, stage: str) -> str:
        """The end of a message on a damaged file: the command that makes what a stage makes here."""
        examines = stage in ("validate", "eval")
        at = "" if examines or self.index < 0 else f" --round {self.index}"
        return (
            f"remake it: `subspace {'eval' if examines else stage} {in_shell(self.path.parent)}{at} --force`"
        )

    @property
    def identities(self) -> Path:
        """The identity means, a Parquet file."""
        return self.path / IDENTITIES

    @property
    def identity_parts(self) -> Path:
        """Parts of the identity means, while they are being made."""
        return self.path / IDENTITY_PARTS

    @property
    def quarantine(self) -> Path:
        """The images that could not be read, a Parquet file."""
        return self.path / QUARANTINE

    @property
    def subspaces(self) -> Path:
        """The subspace of every identity, a Parquet file."""
        return self.path / SUBSPACES

    @property
    def centroids(self) -> Path:
        """The centroids of the subspaces, a Parquet file."""
        return self.path / CENTROIDS

    @property
    def duplicates(self) -> Path:
        """Suspected duplicate identities, a Parquet file."""
        return self.path / DUPLICATES

    @property
    def plan(self) -> Path:
        """The batches, a folder of Parquet files."""
        return self.path / PLAN

    @property
    def checkpoint(self) -> Path:
        """The network at the end of the training here."""
        return self.path / CHECKPOINT

    @property
    def resume(self) -> Path:
        """Checkpoints on the way, each in a folder of its own."""
        return self.path / RESUME

    @property
    def states(self) -> list[Path]:
        """What a training can go on from, newest first: its end, then its checkpoints on the way."""
        found = [self.checkpoint, *sorted(self.resume.glob("step-*"), reverse=True)]
        return [state for state in found if state.is_dir()]

    @property
    def metrics(self) -> Path:
        """What the training logged."""
        return self.path / METRICS

    @property
    def validation(self) -> Path:
        """Metrics on the validation identities."""
        return self.path / VALIDATION

    @property
    def evaluation(self) -> Path:
        """Metrics on the test identities."""
        return self.path / EVALUATION

    @property
    def mistakes(self) -> Path:
        """The worst mistakes on the test identities, a Parquet file; a run of an earlier version has none."""
        return self.path / MISTAKES

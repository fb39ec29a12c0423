"""`RUN/best`, a link to the checkpoint that validates best, and `RUN/best.json`, which says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ..mining.artifacts import point_to, remove, write_json
from ..mining.errors import InputError, StaleArtifactError, SubspaceError
from ..mining.json_documents import Document, read_document
from ..mining.local_paths import in_shell
from ..train.checkpoint_meta import META
from .configuration.early_stop import EarlyStopConfig, best_of
from .round_chain import is_measured, left_over
from .run_directory import RunDirectory
from .stage_folder import CHECKPOINT, ROUND, START, StageFolder


class _Validation(Document):
    value: float
    fingerprint: str = Field(min_length=1)


class BestRecord(Document):
    """What best.json holds: the best of the networks that were validated."""

    network: str
    checkpoint: str
    metric: str
    value: float
    validations: dict[str, _Validation] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_one_of_the_run(self) -> BestRecord:
        for name in self.validations:
            if name != START and not (name.startswith(ROUND) and name.removeprefix(ROUND).isdecimal()):
                raise ValueError(f"{name!r} is no network of a run")
        if self.network not in self.validations:
            raise ValueError(f"network {self.network!r} has no validation")
        if self.checkpoint != f"{self.network}/{CHECKPOINT}":
            raise ValueError(f"checkpoint {self.checkpoint!r} is not that of {self.network}")
        return self


@dataclass(frozen=True)
class Standing:
    """What the validations of a run say so far, the start first, then round after round."""

    metric: str
    value: dict[str, float]
    """The metric of each network, by folder name."""
    fingerprint: dict[str, str]
    """The fingerprint of each validation, by folder name."""

    @classmethod
    def read(cls, folders: list[StageFolder], settings: EarlyStopConfig) -> Standing:
        """Read the `validation.json` in each of these folders.

        Raises:
            InputError: one is missing, or has no such metric, or has too few pairs to know it.
            StaleArtifactError: one is damaged.
        """
        value, fingerprint = {}, {}
        for folder in folders:
            validation = folder.examined("validate")
            metrics = validation["metrics"]
            metric_is_known(settings, list(metrics))
            found = metrics[settings.metric]["value"]
            if found is None:
                known = [name for name, of in metrics.items() if of["value"] is not None]
                raise InputError(
                    f"early_stop.metric={settings.metric} is not known for {validation['identities']:,} validation "
                    f"identities, they have too few pairs; choose from {', '.join(known)}"
                )
            value[folder.name], fingerprint[folder.name] = float(found), validation["fingerprint"]
        return cls(settings.metric, value, fingerprint)

    @property
    def best(self) -> str:
        """The folder that validates best; of equal ones the first that was trained."""
        return list(self.value)[best_of(list(self.value.values()))]

    @property
    def doubt(self) -> str:
        """Why the best says little, in words: all networks are equal; empty where they are not."""
        if len(self.value) < 2 or len(set(self.value.values())) > 1:
            return ""
        return (
            f"all {len(self.value)} networks have {self.metric} {100 * self.value[self.best]:.1f}, so validation cannot tell "
            f"them apart; {self.best} is kept as the first that was trained. Hold out more identities, or choose another "
            "early_stop.metric"
        )

    def to_json(self) -> dict[str, Any]:
        """What `best.json` holds."""
        return {
            "network": self.best,
            "checkpoint": f"{self.best}/{CHECKPOINT}",
            "metric": self.metric,
            "value": self.value[self.best],
            "validations": {
                name: {"value": value, "fingerprint": self.fingerprint[name]}
                for name, value in self.value.items()
            },
        }

    def keep(self, run: RunDirectory) -> None:
        """Point `RUN/best` to the best, then write `RUN/best.json`; nothing is written that is there already."""
        target, record = Path(f"{self.best}/{CHECKPOINT}"), self.to_json()
        link = run.best
        # A copy of the run that was made with links followed has a copy of the checkpoint here.
        if not link.is_symlink() and (link / META).is_file():
            remove(link)
        if not link.is_symlink() or link.readlink() != target:
            point_to(link, target)
        try:
            kept = kept_best(run)
        except StaleArtifactError:  # it follows from the validations, which are whole
            kept = None
        if kept != record:
            write_json(run.best_record, record)

    def is_known(self, run: RunDirectory) -> bool:
        """Whether the best that is kept was chosen with these validations in sight, and perhaps later ones.

        A run that passes over finished rounds again must not point to the best of the first few meanwhile.
        """
        ours = self.to_json()
        try:
            kept = kept_best(run)
        except StaleArtifactError:
            return False
        if kept is None or kept["metric"] != ours["metric"] or not run.best.is_symlink():
            return False
        sight = list(kept["validations"].items())
        return sight[: len(self.value)] == list(ours["validations"].items())


def kept_best(run: RunDirectory) -> dict[str, Any] | None:
    """What `RUN/best.json` says; None where no round is kept as the best.

    Raises:
        StaleArtifactError: it is damaged, or points to no network of the run.
    """
    if not run.best_record.exists():
        return None
    return read_document(
        run.best_record,
        BestRecord,
        f"`subspace run {in_shell(run.path)}` writes it anew from the validations",
    )


def was_made_again(run: RunDirectory, best: Mapping[str, Any]) -> bool:
    """Whether another network than the one that was validated lies in its place; False where that is not known.

    Args:
        best: what `kept_best` returns.
    """
    folder = StageFolder(run.path / best["network"], run.index_of(best["network"]))
    try:
        return folder.finished("validate") and not is_measured(folder, "validate")
    except SubspaceError:
        return False


def since_it_was_best(run: RunDirectory, best: Mapping[str, Any]) -> str:
    """What has become of the best network since, to follow its figure; empty where nothing has.

    Args:
        best: what `kept_best` returns.
    """
    if was_made_again(run, best):
        return ", before it was made again"
    return ", of an earlier training" if best["network"] in left_over(run) else ""


def metric_is_known(settings: EarlyStopConfig, names: list[str]) -> None:
    """Refuse a metric that is not among the names of those that a validation has.

    Raises:
        InputError: it is none of them; the message lists them.
    """
    if settings.metric not in names:
        raise InputError(
            f"early_stop.metric={settings.metric} is not measured; choose from {', '.join(names)}, or ask for it "
            f"by validation.metrics"
        )

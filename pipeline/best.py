"""`RUN/best`, a link to the checkpoint that validates best, and `RUN/best.json`, which says why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..mining.artifacts import point_to, read_json, write_json
from ..mining.errors import InputError
from .configuration.early_stop import EarlyStopConfig, best_of
from .run_directory import RunDirectory
from .stage_folder import CHECKPOINT, StageFolder


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
        """
        value, fingerprint = {}, {}
        for folder in folders:
            validation = read_json(folder.validation)
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
        """The folder that validates best; of equal ones the first."""
        return list(self.value)[best_of(list(self.value.values()))]

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
        if not link.is_symlink() or link.readlink() != target:
            point_to(link, target)
        if kept_best(run) != record:
            write_json(run.best_record, record)

    def is_known(self, run: RunDirectory) -> bool:
        """Whether the best that is kept was chosen with these validations in sight, and perhaps later ones.

        A run that passes over finished rounds again must not point to the best of the first few meanwhile.
        """
        kept, ours = kept_best(run), self.to_json()
        if kept is None or kept["metric"] != ours["metric"] or not run.best.is_symlink():
            return False
        sight = list(kept["validations"].items())
        return sight[: len(self.value)] == list(ours["validations"].items())


def kept_best(run: RunDirectory) -> dict[str, Any] | None:
    """What `RUN/best.json` says; None where no round is kept as the best."""
    return read_json(run.best_record) if run.best_record.exists() else None


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

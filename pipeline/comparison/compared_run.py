"""A run as far as it is: its settings, its networks, how they were trained, and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..best import kept_best
from ..configuration.config import RunConfig
from ..configuration.config_file import load_config
from ..configuration.overrides import kept_overrides
from ..round_chain import current_rounds, is_measured
from ..run_directory import RunDirectory
from ..stage_folder import StageFolder
from ..stages.graph import STAGES

KINDS = {"validation": "validate", "test": "eval"}
"""What figures are of: the stage that measures them."""


@dataclass(frozen=True)
class Network:
    """The starting network of a run, or that at the end of a round."""

    name: str
    """Its folder: start, round-000, ..."""
    steps: int
    """Training steps of all rounds until then."""
    images: int
    """Images shown in them."""
    figures: dict[str, dict[str, Any]]
    """What was measured, by `KINDS`: the metrics by name, each with value, low and high, and what they rest on."""
    fields: dict[str, dict[str, Any]]
    """What these figures depend on, as the markers say, by `KINDS`."""


@dataclass(frozen=True)
class ComparedRun:
    """One run of several."""

    path: Path
    config: RunConfig
    networks: Sequence[Network]
    """All that there are: the start first, then round after round."""
    best: str | None
    """Folder of the network that validates best; None before any was validated."""
    seconds: float
    """What all finished stages took."""

    @classmethod
    def read(cls, path: Path) -> ComparedRun:
        """Read what a run has come to; neither its images nor its manifest need be there.

        Raises:
            InputError: no run. StaleArtifactError: a file of it is damaged.
        """
        run = RunDirectory(path)
        load_config(run.config)  # said in its own words where it is no run
        config = load_config(run.config, kept_overrides(run))
        networks: list[Network] = []
        steps = images = 0
        seconds = 0.0
        for index in (-1, *current_rounds(run)):
            folder = run.round(index)
            seconds += sum(
                folder.record(stage.name)["seconds"] for stage in STAGES if folder.finished(stage.name)
            )
            if index >= 0 and folder.finished("train"):
                taken = folder.record("train")["summary"].get("steps", 0)
                steps, images = steps + taken, images + taken * _images_of_a_step(folder, config)
            elif index >= 0:
                continue  # a round under way has no network yet
            networks.append(Network(folder.name, steps, images, *_measured(folder)))
        record = kept_best(run)
        return cls(path, config, networks, record["network"] if record else None, seconds)

    def network(self, which: str, kind: str) -> Network | None:
        """The start, the best or the last network; None where there is none yet, or figures of a kind are not known of it."""
        start, *trained = (one.name for one in self.networks)
        name = {"start": start, "best": self.best, "last": trained[-1] if trained else None}[which]
        return next((one for one in self.networks if one.name == name and kind in one.figures), None)


def _images_of_a_step(folder: StageFolder, config: RunConfig) -> int:
    fields = folder.record("plan")["fields"] if folder.finished("plan") else {}
    return int(fields.get("plan.P", config.plan.P)) * int(fields.get("plan.K", config.plan.K))


def _measured(folder: StageFolder) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Figures of the network as it is by kind, and what they depend on."""
    figures, fields = {}, {}
    for kind, stage in KINDS.items():
        if is_measured(folder, stage):
            figures[kind] = folder.examined(stage)
            fields[kind] = folder.record(stage)["fields"]
    return figures, fields


def short_names(paths: Sequence[Path]) -> list[str]:
    """The runs by the last words of their paths, as many as tell them apart.

    >>> short_names([Path("a/x"), Path("b/x"), Path("b/y")])
    ['a/x', 'b/x', 'b/y']
    """
    whole = [path.absolute().parts[1:] or ("/",) for path in paths]
    for words in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-words:]) for parts in whole]
        if len(set(names)) == len(set(whole)):
            return names
    return [str(path) for path in paths]

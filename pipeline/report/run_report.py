"""The run that a report is of: folders, settings, manifest, seed. Tables are read where a section asks for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...mining.cleaning.keep_table import read_left_out
from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...mining.manifest import Manifest
from ...train.checkpoint_meta import read_meta
from ...train.data.image_input import ImageInput
from ..configuration.config import RunConfig
from ..configuration.config_file import load_config
from ..configuration.overrides import kept_overrides
from ..pictures.picture_book import PictureBook
from ..pictures.round_sample import RoundSample
from ..pictures.run_images import RunImages, network_input
from ..round_chain import current_rounds
from ..run_directory import RunDirectory
from ..stage_folder import StageFolder
from ..stages.graph import STAGES
from ..stages.round_tables import read_quarantine

LONG_PATH = 32
"""Letters; a sentence has only the end of a longer path."""


@dataclass(frozen=True)
class RunReport:
    """A run as the sections of its report see it; nothing is written into it, and a command may be at work there."""

    run: RunDirectory
    settings: RunConfig
    seed: int = 0
    """Everything that is drawn, pictures and identities, derives from it: `generator(seed, "report ...", ...)`."""
    baseline: RunDirectory | None = None
    """Another run to set beside it, usually one of random batches."""

    @classmethod
    def open(cls, path: Path, *, seed: int = 0, baseline: Path | None = None) -> RunReport:
        """The report of a run that `subspace init` made.

        Raises:
            InputError: no run there, wrong settings, or nothing is done in it yet.
        """
        run = RunDirectory(path)
        report = cls(
            run,
            load_config(run.config, kept_overrides(run)),
            seed,
            None if baseline is None else RunDirectory(baseline),
        )
        if baseline is not None:
            load_config(baseline / run.config.name)
        if not any(folder.finished(stage.name) for folder in report.folders for stage in STAGES):
            raise InputError(
                f"nothing is done in {path} yet, so there is nothing to report; run `subspace run {in_shell(path)}`"
            )
        return report

    @cached_property
    def rounds(self) -> list[StageFolder]:
        """The current rounds, in order: what an earlier run has left behind is none of the report's."""
        return [self.run.round(index) for index in current_rounds(self.run)]

    @cached_property
    def folders(self) -> list[StageFolder]:
        """The starting network's folder and those of the rounds, in order."""
        return [self.run.start, *self.rounds]

    def latest(self, stage: str) -> StageFolder | None:
        """The last round in which a stage is done; None where it is in none."""
        return next((folder for folder in reversed(self.rounds) if folder.finished(stage)), None)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest of the run; None where it is not there any more: figures need none."""
        try:
            return Manifest.open(self.settings.manifest)
        except InputError:
            return None

    @cached_property
    def trained_with(self) -> str | None:
        """The fingerprint of the manifest that the latest network was trained with; None where nothing says it."""
        return next((then for folder in reversed(self.folders) if (then := folder.trained_with)), None)

    @property
    def manifest_name(self) -> str:
        """The manifest in a sentence: as the settings have it, and of a long path its end, as they show all of it."""
        given = self.settings.manifest
        return given if len(given) <= LONG_PATH else f"…/{'/'.join(given.rsplit('/', 2)[-2:])}"

    @cached_property
    def pictures(self) -> PictureBook | None:
        """Pictures of images and identities, as the run's network has them; None without the manifest that it read."""
        done = self.latest("extract")
        if self.manifest is None or (
            done is not None and not done.is_of(self.manifest.fingerprint, "extract")
        ):
            return None
        decoded = RunImages(self.manifest, self.settings.data.decoder, self._input)
        quarantined = np.empty(0, np.int64) if done is None else read_quarantine(done, len(self.manifest))
        without = np.union1d(quarantined, self._cleaned_away(self.manifest))
        return PictureBook(decoded, self.settings.data.train_splits, without, self.seed)

    def _cleaned_away(self, manifest: Manifest) -> np.ndarray:
        """What `data.cleaned` leaves out, int64[n]; nothing where the table is not there any more."""
        if self.settings.data.cleaned is not None:
            with suppress(InputError):
                return read_left_out(Path(self.settings.data.cleaned), manifest).image_id
        return np.empty(0, np.int64)

    @property
    def _input(self) -> ImageInput | None:
        """What the network of the run expects of its images, by its last checkpoint."""
        known = [folder.checkpoint for folder in self.folders if folder.finished("train") or folder.index < 0]
        with suppress(InputError):
            return network_input(read_meta(known[-1]).input)
        return None

    @cached_property
    def clustered(self) -> StageFolder | None:
        """The last round whose subspaces are of the means that lie there, and these of the manifest as it is.

        A round whose means are being made anew is none; None where no round is one, or without the manifest.
        """
        if self.manifest is None:
            return None
        known = self.manifest.fingerprint
        done = (folder for folder in reversed(self.rounds) if folder.finished("cluster"))
        return next((folder for folder in done if folder.is_of(known, "cluster")), None)

    @cached_property
    def sample(self) -> RoundSample | None:
        """Subspaces of the round that is `clustered`, drawn by seed; None where there is none."""
        return None if self.clustered is None else RoundSample.draw(self.clustered, self.seed)

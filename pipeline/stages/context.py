"""What every stage is given: the run, its settings, its manifest, how the command was called, and the round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...mining.cleaning.keep_table import NOTHING, LeftOut, read_left_out
from ...mining.errors import InputError, StaleArtifactError
from ...mining.manifest import IdentityImages, Manifest
from ...mining.remote import is_url
from ..child_processes import orphaned
from ..configuration.config import RunConfig
from ..configuration.config_file import load_config, parse_config
from ..configuration.overrides import kept_overrides, taken_back
from ..options import Options
from ..run_directory import RunDirectory
from ..stage_folder import StageFolder

if TYPE_CHECKING:
    from ...train.data.loader_processes import Patience


@dataclass(frozen=True)
class Context:
    """One run, as one command sees it, in one of its folders.

    >>> [field for field in Context.__dataclass_fields__]
    ['run', 'config', 'manifest', 'options', 'round_index', 'kept', 'lost']

    `Context.open("runs/photos", ["rounds=3"])` opens a run as the commands do.
    """

    run: RunDirectory
    config: RunConfig
    manifest: Manifest
    options: Options
    round_index: int = 0
    """The round to work in, from 0; -1 for the starting network."""

    kept: tuple[str, ...] = ()
    """Settings that earlier commands were given and that are in force."""

    lost: str = ""
    """Where the manifest is not there: why, and what to do; then `manifest` has a fingerprint, and no rows."""

    @classmethod
    def open(
        cls,
        path: Path | str,
        overrides: Sequence[str] = (),
        options: Options | None = None,
        *,
        needs_manifest: bool = True,
    ) -> Context:
        """Open a run that `subspace init` made, with the settings that earlier commands were given.

        Args:
            overrides: settings over all of these, `section.key=value`.
            needs_manifest: else a manifest that is gone is that of which the stages say that they were made (see `lost`).

        Raises:
            InputError: no run there, a wrong setting, or a manifest that cannot be read.
        """
        run = RunDirectory(Path(path))
        kept = kept_overrides(run, overrides)
        back = taken_back(overrides)
        overrides = [word for word in overrides if word not in back]
        try:
            config = load_config(run.config, [*kept, *overrides])
        except InputError as error:
            if not kept:
                raise
            raise InputError(f"{error}; in force too, from {run.overrides}: {' '.join(kept)}") from error
        options = options or Options(overrides=tuple(overrides))
        path, lost = Path(config.manifest), ""
        if is_url(path) or path.exists():
            manifest = Manifest.open(path)
        else:
            lost = f"{path} does not exist; where it has moved, add manifest=NEW to the command"
            if needs_manifest:
                raise InputError(lost)
            manifest = Manifest(path, None, _manifest_of_stages(run))
        return cls(run, config, manifest, options, kept=tuple(kept), lost=lost)

    @property
    def folder(self) -> StageFolder:
        """Where the stages of this round work."""
        return self.run.round(self.round_index)

    @property
    def before(self) -> StageFolder:
        """Where the network lies that this round begins with."""
        return self.run.network(self.round_index)

    def at_round(self, index: int) -> Context:
        """The same in another round; -1 for the starting network."""
        return replace(self, round_index=index)

    def with_settings(self, settings: Mapping[str, Any]) -> Context:
        """The same with other settings, as a checkpoint has them.

        Raises:
            InputError: they are none, or of another version.
        """
        return replace(self, config=parse_config(settings, [], "a checkpoint"))

    @property
    def left_out(self) -> LeftOut:
        """What `data.cleaned` leaves out of the training identities; nothing where it is not set.

        Raises:
            InputError: no such table, or one of another manifest.
        """
        path = self.config.data.cleaned
        return NOTHING if path is None else read_left_out(Path(path), self.manifest)

    def training_identities(self, without: np.ndarray | None = None) -> IdentityImages:
        """The identities of `data.train_splits` with the images that are left, except the image ids in `without`."""
        left_out = self.left_out.image_id
        without = left_out if without is None else np.union1d(left_out, without)
        return self.manifest.identities_in(self.config.data.train_splits, without)

    @property
    def patience(self) -> Patience:
        """How long images are waited for."""
        return patience_of(self.config, self.options)

    def say(self, text: str = "") -> None:
        """Print a line for people."""
        self.options.console.say(text)


def _manifest_of_stages(run: RunDirectory) -> str:
    """The fingerprint of the manifest that the newest finished stage was made of; empty where none says so."""
    markers = sorted(run.path.glob("*/done/*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for marker in markers:
        with suppress(StaleArtifactError, ValueError):  # damaged, or in a folder of another name
            folder = StageFolder(marker.parents[1], run.index_of(marker.parents[1].name))
            if found := folder.record(marker.stem).get("fields", {}).get("manifest"):
                return found
    return ""


def patience_of(config: RunConfig, options: Options) -> Patience:
    """How long images are waited for, and not longer than a signal or the end of the parent allows."""
    from ...train.data.loader_processes import Patience

    return Patience(config.data.timeout, lambda: bool(options.stop.name) or orphaned())

"""Files of a finished stage, sealed: its marker has their sizes and checksums, so that no damage goes unseen.

Whoever asks whether a stage is done has their sizes compared. A stage that reads them checks those up to 1 GiB before it
works: 1 to 2 s a GiB. Larger ones are tables of means and
embeddings and states of optimisers; the pages of Parquet have checksums of their own, and `subspace status --verify` checks
all of them in full. Markers from before there were checksums say nothing of any file, and hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...mining.errors import StaleArtifactError
from ...mining.fingerprints import sha256_of
from .. import stage_folder as files
from ..stage_folder import StageFolder

CHECKED_BEFORE_USE = 2**30
"""Bytes up to which a file is checked by each stage that reads it."""
UNSEALED = (files.RESUME, files.IDENTITY_PARTS, files.TENSORBOARD, files.TRACKERS, files.METRICS, files.KEEP)
"""Written or removed after the marker, made nothing from, or edited by its owner."""
NOT_NEEDED = (files.EMBEDDINGS,)
"""Nothing is made from it, so that it may be gone."""


@dataclass(frozen=True)
class Sealed:
    """The files of one finished stage."""

    folder: StageFolder
    stage: str
    command: str
    """The command that makes them."""
    only: str = ""
    """The one output that matters; all of them where it is empty."""

    def files(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of each, by its name in the folder; none where the marker is from before there were any.

        Raises:
            StaleArtifactError: the marker is damaged.
        """
        if not self.folder.finished(self.stage):
            return {}
        record = self.folder.record(self.stage)
        sealed = record.get("files", {}) if isinstance(record, dict) else None
        if not isinstance(sealed, dict) or not all(map(_is_seal, sealed.values())):
            raise StaleArtifactError(
                f"{self.folder.marker(self.stage)} is damaged: its 'files' are no sizes and checksums; "
                f"remake it: `{self.command} --force`"
            )
        return {
            name: (size, digest)
            for name, (size, digest) in sealed.items()
            if not self.only or name.partition("/")[0] == self.only
        }

    def damages(self, at_most: int | None = None) -> Iterator[tuple[Path, str]]:
        """Each file that is not as it was written, and how it differs; larger ones than `at_most` bytes by size alone."""
        for name, (size, digest) in self.files().items():
            path = self.folder.file(name)
            try:
                now = path.stat().st_size
                if now != size:
                    yield path, f"{now:,} bytes long, and it was written with {size:,}"
                elif (at_most is None or size <= at_most) and sha256_of(path) != digest:
                    yield path, "not as it was written: its checksum differs"
            except FileNotFoundError:
                if name not in NOT_NEEDED:
                    yield path, "missing"
            except OSError as error:
                yield path, f"not readable: {error.strerror or error}"

    def refuse_damage(self) -> None:
        """Check all that are not too large to be checked before each use.

        Raises:
            StaleArtifactError: one is not as it was written; the message names the command that remakes it.
        """
        for path, how in self.damages(CHECKED_BEFORE_USE):
            if path.name in NOT_NEEDED:
                continue
            raise StaleArtifactError(damage_line(path, how, self.command))

    def refuse_other_sizes(self) -> None:
        """Look at the sizes of all, which reads none of them: one that was cut off is never taken for finished.

        Raises:
            StaleArtifactError: one is longer or shorter than it was written, or gone out of its folder.
        """
        for path, how in self.damages(at_most=-1):
            raise StaleArtifactError(damage_line(path, how, self.command), change=f"{path.name} is {how}")

    def missing(self, outputs: Sequence[str]) -> bool:
        """Whether an output, a file or a folder, is gone that the marker has."""
        sealed = {name.partition("/")[0] for name in self.files()} - set(NOT_NEEDED)
        return any(not self.folder.file(name).exists() for name in outputs if name in sealed)


def damage_line(path: Path, how: str, command: str) -> str:
    """The line that says it."""
    return f"{path} is {how}; remake it: `{command} --force`"


def seal(folder: Path, outputs: Sequence[str]) -> dict[str, list[Any]]:
    """Size and SHA-256 of all files of the outputs, by name in the folder, in the order of names within each output."""
    sealed: dict[str, list[Any]] = {}
    for output in outputs:
        path = folder / output
        if output in UNSEALED or not path.exists():
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                sealed[file.relative_to(folder).as_posix()] = [file.stat().st_size, sha256_of(file)]
    return sealed


def _is_seal(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], int)
        and isinstance(value[1], str)
    )

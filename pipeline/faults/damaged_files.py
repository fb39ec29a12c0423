"""A damaged file of a run in words: which command remakes it, by where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.errors import DamagedFileError, StaleArtifactError
from ...mining.local_paths import in_shell
from .. import stage_folder as files
from ..run_directory import RunDirectory

if TYPE_CHECKING:
    from ..stages.graph import StageRow


@contextmanager
def damage_in_words(stages: Sequence[StageRow]) -> Iterator[None]:
    """Raise the damage of a run's own file as a StaleArtifactError that names the command which remakes it.

    Args:
        stages: the table of stages.
    """
    try:
        yield
    except DamagedFileError as error:
        if (advice := remaking(Path(error.file), stages)) is None:
            raise
        raise StaleArtifactError(f"{error}; {advice}") from error


def remaking(path: Path, stages: Sequence[StageRow]) -> str | None:
    """How a file of a run is made again; None for one that is not a run's own.

    >>> remaking(Path("photos.parquet"), []) is None
    True
    """
    for folder in list(path.absolute().parents)[:3]:
        run = RunDirectory(folder.parent)
        if not run.config.exists():
            continue
        name, index = path.absolute().relative_to(folder).parts[0], _round_of(folder.name)
        made = (stage for stage in stages if index is not None and stage.works_in(index))
        maker = next((stage for stage in made if name in stage.outputs), None)
        if maker is None or index is None:
            return None
        below = len(path.absolute().relative_to(folder.parent).parts)
        command = maker.command_in(RunDirectory(Path(*path.parts[:-below])), index)  # the run as it was named
        if name == files.IDENTITY_PARTS and path.exists():
            return f"remove it, then continue with `{command}`"
        if name == files.RESUME:
            state = folder / files.RESUME / path.absolute().relative_to(folder).parts[1]
            return f"remove {in_shell(state)}: `{command}` continues from the state before, or begins again"
        return f"remake it: `{command} --force`"
    return None


def _round_of(folder: str) -> int | None:
    """The round whose folder has that name, -1 for the starting network's; None: no such folder."""
    if folder == files.START:
        return -1
    number = folder.removeprefix(files.ROUND)
    return int(number) if folder.startswith(files.ROUND) and number.isdecimal() else None

"""`subspace status --verify`: every file of every finished stage, byte for byte against its checksum."""

from __future__ import annotations

from ...mining.errors import StaleArtifactError
from ..console import counted
from ..faults.sealed_files import Sealed, damage_line
from ..stages.context import Context
from ..stages.graph import STAGES


def verify_files(context: Context) -> None:
    """Check all files that the markers of a run have, and say each that is not as it was written.

    Raises:
        StaleArtifactError: some are not.
    """
    run, lines, checked, unsealed = context.run, [], 0, []
    for index in (-1, *run.rounds):
        for stage in STAGES:
            folder = run.round(index)
            if not stage.works_in(index) or not folder.finished(stage.name):
                continue
            sealed = Sealed(folder, stage.name, stage.command_in(run, index))
            if not sealed.files():
                unsealed.append(f"{folder.name}/{stage.name}")
            lines += [damage_line(path, how, sealed.command) for path, how in sealed.damages()]
            checked += len(sealed.files())
    for line in lines if len(lines) > 1 else []:
        context.say(line)
    if unsealed:
        context.say(f"no checksums, made before there were any: {', '.join(unsealed)}")
    if lines:
        raise StaleArtifactError(
            f"{len(lines)} of {counted(checked, 'file')} of {run.path} {'is' if len(lines) == 1 else 'are'} not as "
            "written: " + (lines[0] if len(lines) == 1 else "remake them as said above")
        )
    if not checked:
        context.say("nothing could be verified: no finished stage has checksums")
        return
    context.say(f"verified: {counted(checked, 'file')} of finished stages, all as written")

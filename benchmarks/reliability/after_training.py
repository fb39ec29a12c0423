"""What comes after a training, disturbed: images embedded, an index made of them, the training images looked through."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly
from broken_disks import distinct
from disturbed_commands import Accident, run_command
from run_results import differences, results_of
from tiny_run import TinyRun

KINDS = {
    "SIGKILL": Accident(signal=signal.SIGKILL),
    "SIGTERM": Accident(signal=signal.SIGTERM),
    "SIGINT": Accident(signal=signal.SIGINT),
    "full disk (ENOSPC)": Accident(error=errno.ENOSPC),
    "I/O error (EIO)": Accident(error=errno.EIO),
}
TRIES = {"SIGKILL": 60, "SIGTERM": 20, "SIGINT": 20}
"""In the long form; errors are tried at so many of the kinds of writes."""
ERRORS = 40
HALF_WRITTEN = (".tmp", ".old", ".parts")


def after_training(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Each kind of accident at writes of `embed`, `index` and `clean`, evenly over all three."""
    tiny.undisturbed()
    before = [tiny.folder / f"after-training-{number}" for number in range(4)]
    shutil.copytree(tiny.folder / "undisturbed-0", before[0] / "run", symlinks=True)
    works, writes = list[tuple[Path, int, dict[str, str]]](), list[str]()
    for number, (one, then) in enumerate(itertools.pairwise(before)):
        shutil.copytree(one, then, symlinks=True)
        ended = run_command(_command(tiny, then, number), then)
        tiny.must(ended)
        works += [(one, at, _results(then)) for at in range(1, len(ended.writes) + 1)]
        writes += ended.writes
    found = []
    for kind, accident in KINDS.items():
        at = evenly(len(writes), TRIES[kind]) if kind in TRIES else distinct(tuple(writes))
        at = [at[index - 1] for index in evenly(len(at), 3 if short else TRIES.get(kind, ERRORS))]
        trials = [_disturbed(tiny, *works[place - 1], accident) for place in at]
        found.append(Accidents(f"embed, index, clean: {kind}", trials))
    return found


def _command(tiny: TinyRun, folder: Path, number: int) -> list[object]:
    photos = folder / "photos.parquet"
    # One network for all, as a file of embeddings says which it was.
    network = tiny.folder / "undisturbed-0" / "round-001" / "checkpoint"
    return [
        ["embed", network, tiny.images, "--out", photos, "--num-workers", 0, "--quiet"],
        ["index", photos, "--out", folder / "photos.index", "--images", "--force", "--quiet"],
        ["clean", folder / "run", "--quiet"],
    ][number]


def _results(folder: Path) -> dict[str, str]:
    """Hashes of what the commands make; an index counts whatever the number of its folder is."""
    record = folder / "photos.index" / "index.json"
    files = [folder / "photos.parquet"]
    files += (record.parent / json.loads(record.read_text())["rows"]).iterdir() if record.exists() else ()
    made = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.exists()}
    return {**made, **results_of(folder / "run")}


def _disturbed(tiny: TinyRun, before: Path, at: int, wanted: dict[str, str], accident: Accident) -> Trial:
    def trial(folder: Path) -> Attempt:
        shutil.copytree(before, folder, symlinks=True)
        command = _command(tiny, folder, int(before.name[-1]))
        met = run_command(command, folder, replace(accident, at=at))
        complaints = [] if met.is_clean else [met.errors.strip() or met.words]
        again = run_command(command, folder)
        if again.code != 0:
            complaints.append(f"{command[0]} again: {again.words}: {again.errors.strip()}")
        elif different := differences(_results(folder), wanted):
            complaints.append(f"{len(different)} results differ: {', '.join(different[:4])}")
        elif left := sorted(path.name for path in folder.rglob("*") if path.suffix in HALF_WRITTEN):
            complaints.append(f"left behind: {', '.join(left)}")
        return Attempt(met.words, "; ".join(complaints))

    return trial

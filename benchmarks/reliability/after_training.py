"""What comes after a training, disturbed: images embedded, an index made of them, the training images looked through."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
from collections.abc import Sequence
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
"""In the long form; errors are tried at each of the kinds of writes."""
HALF_WRITTEN = (".tmp", ".old", ".parts")


def after_training(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Each kind of accident at writes of `embed`, `index` and `clean`, evenly over all three."""
    tiny.undisturbed()
    whole = _fresh(tiny, tiny.folder / "after-training")
    ended = [run_command(command, whole) for command in _commands(tiny, whole)]
    for one in ended:
        tiny.must(one)
    wanted, lengths = _results(whole), [len(one.writes) for one in ended]
    writes = tuple(write for one in ended for write in one.writes)
    found = []
    for kind, accident in KINDS.items():
        at = evenly(len(writes), TRIES[kind]) if kind in TRIES else distinct(writes)
        if short:
            at = [at[index - 1] for index in evenly(len(at), 3)]
        trials = [_disturbed(tiny, wanted, lengths, number, accident) for number in at]
        found.append(Accidents(f"embed, index, clean: {kind}", trials))
    return found


def _fresh(tiny: TinyRun, folder: Path) -> Path:
    """A folder with a finished run to look through."""
    shutil.copytree(tiny.folder / "undisturbed-0", folder / "run", symlinks=True)
    return folder


def _commands(tiny: TinyRun, folder: Path) -> list[list[object]]:
    photos = folder / "photos.parquet"
    # One network for all, as a file of embeddings says which it was.
    network = tiny.folder / "undisturbed-0" / "round-001" / "checkpoint"
    return [
        ["embed", network, tiny.images, "--out", photos, "--num-workers", 0, "--quiet"],
        ["index", photos, "--out", folder / "photos.index", "--images", "--force", "--quiet"],
        ["clean", folder / "run", "--quiet"],
    ]


def _results(folder: Path) -> dict[str, str]:
    """Hashes of what the three commands make; an index counts whatever the number of its folder is."""
    index = folder / "photos.index"
    rows = index / json.loads((index / "index.json").read_text())["rows"]
    files = [folder / "photos.parquet", *rows.iterdir()]
    made = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {**made, **results_of(folder / "run")}


def _disturbed(
    tiny: TinyRun, wanted: dict[str, str], lengths: Sequence[int], number: int, accident: Accident
) -> Trial:
    def trial(folder: Path) -> Attempt:
        _fresh(tiny, folder)
        before, met, complaints = 0, None, list[str]()
        for command, length in zip(_commands(tiny, folder), lengths, strict=True):
            if before < number <= before + length:
                met = run_command(command, folder, _at(accident, number - before))
                complaints += [] if met.is_clean else [met.errors.strip() or met.words]
            before += length
            again = run_command(command, folder)
            if again.code != 0:
                complaints.append(f"{command[0]} again: {again.words}: {again.errors.strip()}")
                break
        else:
            if different := differences(_results(folder), wanted):
                complaints.append(f"{len(different)} results differ: {', '.join(different[:4])}")
            if left := sorted(path.name for path in folder.rglob("*") if path.suffix in HALF_WRITTEN):
                complaints.append(f"left behind: {', '.join(left)}")
        return Attempt(met.words if met else "not met", "; ".join(complaints))

    return trial


def _at(accident: Accident, number: int) -> Accident:
    return Accident(at=number, signal=accident.signal, error=accident.error)

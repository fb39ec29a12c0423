"""`subspace eval --protocol`: opens what is named, does one protocol after another, writes and says what each comes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ..options import Options
from .opening import open_images
from .outcome_folder import NO_PLOTS, check_target, has_plots, write_outcome
from .registry import choose_protocols
from .request import ProtocolRequest


def evaluate_by_protocols(
    path: Path,
    names: Sequence[str],
    request: ProtocolRequest,
    options: Options,
    *,
    overrides: Sequence[str] = (),
    manifest: Path | None = None,
    flip: bool = False,
    out: Path | None = None,
    allow_code: bool = False,
) -> dict[str, Any]:
    """Evaluate a run, a checkpoint or a file of embeddings; returns what metrics.json holds, by protocol.

    Args:
        out: the folder to write; of several protocols, the folder of their folders.

    Raises:
        InputError: an option that does not fit, images that cannot be evaluated so, or a folder in the way.
    """
    protocols, say = choose_protocols(names, request), options.console.say
    if not path.exists():
        raise InputError(f"{path} does not exist; name a run, a checkpoint or a file of embeddings")
    images = open_images(path, overrides, options, manifest=manifest, flip=flip, allow_code=allow_code)
    folders = {name: _folder(name, images.folder, out, len(protocols)) for name in protocols}
    for folder in folders.values():
        check_target(folder, options.force)
    # all lists are read before any work: a wrong one of the last protocol must not cost that of the first
    plans = {name: protocol.compute(images, request) for name, protocol in protocols.items()}
    done: dict[str, Any] = {}
    for name, planned in plans.items():
        say(f"{name}: {planned.announcement}")
        if options.dry_run:
            say(f"would write {folders[name]}; dry run: nothing was done")
            continue
        outcome = planned.work()
        options.console.say_lines(outcome.in_words())
        origin = {"settings": {"seed": images.config.seed, **planned.settings}, **images.origin}
        files = write_outcome(folders[name], name, outcome, origin)
        say(f"{folders[name]}: {', '.join(files)}{'' if has_plots() else f'; {NO_PLOTS}'}")
        done[name] = {"folder": str(folders[name]), **outcome.to_json(), **origin}
    return done


def _folder(name: str, beside: Path, out: Path | None, protocols: int) -> Path:
    if out is None:
        return beside / f"evaluation-{name}"
    return out if protocols == 1 else out / name

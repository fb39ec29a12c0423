"""What a checkpoint was trained on: whether a manifest is still that one, and which held-out identities it has learned."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import StaleArtifactError, SubspaceError, SubspaceWarning
from ...mining.local_paths import in_shell
from ...mining.manifest import Manifest
from ...train.networks.registry import CHECKPOINT_PREFIX
from ..configuration.config import RunConfig
from ..stage_folder import StageFolder
from ..stages.pretrain import pretrain_identities
from .chosen_checkpoint import ChosenCheckpoint, choose_checkpoint
from .figures import manifest_of, settings_of


def open_tested(chosen: ChosenCheckpoint, config: RunConfig, given: Path | None) -> Manifest:
    """The manifest to test a checkpoint on: that of `--manifest`, `given`, or else the one that its settings name.

    A SubspaceWarning says which test identities of a given one it was trained on.

    Raises:
        InputError: it cannot be read.
        StaleArtifactError: none was given, and that of the settings has changed since the checkpoint was trained.
    """
    manifest = Manifest.open(given or config.manifest)
    if given is None:
        if chosen.stage_folder is not None:
            refuse_changed(chosen.stage_folder, manifest)
        return manifest
    splits, there = config.data.test_splits, manifest.splits
    alone = len(there) == 1 and there[0] not in splits  # a protocol tests on it, whatever its name
    for line in learned_before(chosen, manifest, {"test": there if alone else splits}):
        warnings.warn(line, SubspaceWarning, stacklevel=2)
    return manifest


def refuse_changed(folder: StageFolder, manifest: Manifest) -> None:
    """Refuse to test the network of a stage's folder on a manifest that is not the one it was trained with.

    Raises:
        StaleArtifactError: it is another one: all splits may have been drawn anew.
    """
    then, now = folder.trained_with, manifest.fingerprint
    if then in (None, now):
        return
    raise StaleArtifactError(
        f"{folder.checkpoint} was trained with manifest={then}, now {manifest.path} is {now}: its test identities may be "
        f"among those that this network learned; name the manifest that it was trained with, or another one: "
        f"`subspace eval {in_shell(folder.checkpoint)} --manifest FILE`",
        change=f"manifest: {then}, now {now}",
    )


def learned_by_start(config: RunConfig, manifest: Manifest) -> list[str]:
    """What `learned_before` says of the checkpoint that a run begins with, where it begins with one."""
    if not config.model.startswith(CHECKPOINT_PREFIX):
        return []
    chosen = choose_checkpoint(Path(config.model.removeprefix(CHECKPOINT_PREFIX)))
    held_out = {"test": config.data.test_splits, "validation": config.data.val_splits}
    return learned_before(chosen, manifest, held_out)


def learned_before(
    chosen: ChosenCheckpoint, manifest: Manifest, held_out: Mapping[str, Sequence[str]]
) -> list[str]:
    """How many held-out identities of a manifest a checkpoint was trained on, by their names: one line, or none.

    Nothing is said of a checkpoint that was made outside a run, nor of a start that is the network as it came.
    Memory: the names of the identities of both sides.

    Args:
        held_out: splits, by what they are called in the line.
    """
    try:
        learned = _learned(chosen, manifest)
    except SubspaceError as error:
        learned = str(error)
    if isinstance(learned, str):
        return [
            f"it cannot be known which identities {chosen.name} was trained on, and whether some of them are held out here: "
            f"{learned}"
        ]
    found = []
    for kind, splits in held_out.items():
        names = manifest.names_of(manifest.identities_in(splits).identity_id)
        if seen := pc.sum(pc.is_in(names, value_set=learned)).as_py():
            found.append(f"{seen:,} of {len(names):,} {kind}")
    if not found:
        return []
    return [
        f"{' and '.join(found)} identities are, by name, among those that {chosen.name} was trained on; its figures say too "
        "much: `subspace ingest --merge` of its manifest and the new images keeps their splits"
    ]


def _learned(chosen: ChosenCheckpoint, manifest: Manifest) -> pa.Array | str:
    """The names of the identities that a checkpoint was trained on, or why they are not known."""
    config = settings_of(chosen)
    if config is None or (chosen.is_start and config.pretrain.steps == 0):
        return pa.array([], pa.string())
    before = manifest if chosen.trained_with == manifest.fingerprint else manifest_of(chosen, config)
    if isinstance(before, str):
        return before
    identity_id = np.empty(0, np.int32)
    if not chosen.is_start:
        identity_id = before.identities_in(config.data.train_splits).identity_id
    if config.pretrain.steps:
        identity_id = np.union1d(identity_id, pretrain_identities(config, before).identity_id)
    return before.names_of(identity_id)

"""Which searched loss a stage trains with, as its fingerprint has it: by content, so that a moved curve is the same loss.

Work of earlier versions has the path in its fingerprint, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..mining.errors import SubspaceError
from ..mining.fingerprints import CODE_VERSION, fingerprint_of

if TYPE_CHECKING:
    from .stages.context import Context


def with_known_path(stage: str, fields: Mapping[str, Any], context: Context) -> Mapping[str, Any]:
    """The fields of a stage, with the path of its curve where the work that is there was fingerprinted by it.

    A path that is not that of today serves for finished work alone: whatever begins anew is known by content.
    """
    key = f"{stage}.loss"
    if f"{key}.curve" not in fields:
        return fields
    from ..train.checkpoint_meta import read_meta
    from ..train.loss_search.curve import by_content

    folder, today = context.folder, getattr(context.config, stage).loss
    with suppress(SubspaceError):  # damaged: said where it is opened
        if folder.finished(stage):
            marker = folder.record(stage)
            loss, made = str(marker.get("fields", {}).get(key)), [marker.get("fingerprint")]
        else:
            loss, made = today, [read_meta(state).fingerprint for state in folder.states]
        same = by_content(loss, fields[f"{key}.curve"].split(",")) == fields[key]
        older = {**fields, key: loss}
        if same and not context.options.force and fingerprint_of({**older, "code": CODE_VERSION}) in made:
            return older
    # Last, so that a message names another change first: the content of the curve, or the version that wrote a path.
    return {**{name: value for name, value in fields.items() if name != key}, key: fields[key]}

"""What cleaning found, as tables and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...mining.cleaning.keep_table import table_to_keep
from ...mining.cleaning.settings import REASONS, CleanConfig
from ...mining.clustering.duplicate_trust import MOST_WITH_PARTNER, DuplicateTrust
from ...mining.manifest import Manifest
from ...mining.schemas import SUSPECTS
from ..console import counted, percent

if TYPE_CHECKING:
    from ...mining.cleaning.identity_blocks import IdentityBlocks
    from ...mining.cleaning.suspects import Findings, Suspects

TOO_FEW = "too_few"
"""The reason of images that go with their identity, since too few others are left."""


def table_of_suspects(
    found: Findings, blocks: IdentityBlocks, image_id: np.ndarray, manifest: Manifest
) -> pa.Table:
    """Every suspect, a row for each reason: the surest of each reason first.

    Args:
        image_id: int64[n], of the rows of `blocks`.
    """
    names = manifest.names_of(blocks.identity_id)
    tables = [
        _rows(reason, suspects, blocks, image_id, names)
        for reason, suspects in found.suspects.items()
        if len(suspects.score)
    ]
    return pa.concat_tables([SUSPECTS.columns.empty_table(), *tables]).unify_dictionaries()


def _rows(
    reason: str, found: Suspects, blocks: IdentityBlocks, image_id: np.ndarray, names: pa.Array
) -> pa.Table:
    order = np.argsort(-found.score, kind="stable")
    identity, other = found.identity[order], found.other_identity[order]
    return pa.table(
        {
            "reason": pa.array([reason] * len(order)),
            "score": pa.array(found.score[order], pa.float32()),
            "identity_id": pa.array(blocks.identity_id[identity], pa.int32()),
            "identity": names.take(pa.array(identity)),
            "image_id": pa.array(image_id[found.image[order]], pa.int64(), mask=found.image[order] < 0),
            "other_identity_id": pa.array(blocks.identity_id[other], pa.int32(), mask=other < 0),
            "other_identity": names.take(pa.array(other, mask=other < 0)),
            "other_image_id": pa.array(
                image_id[found.other_image[order]], pa.int64(), mask=found.other_image[order] < 0
            ),
        }
    ).cast(SUSPECTS.columns)


def table_of_kept(
    found: Findings, blocks: IdentityBlocks, image_id: np.ndarray, settings: CleanConfig
) -> tuple[pa.Table, dict[str, int]]:
    """The keep table, and how many images are dropped for each reason; the first that applies counts."""
    kept = found.kept(blocks, settings)
    reason = np.full(len(kept), TOO_FEW, object)
    for name, suspects in reversed(list(found.suspects.items())):
        if name not in settings.drop:
            continue
        reason[suspects.image[suspects.image >= 0]] = name
        for identity in suspects.identity[suspects.image < 0].tolist():
            reason[blocks.offset[identity] : blocks.offset[identity + 1]] = name
    owner = np.repeat(blocks.identity_id, blocks.count)
    names, counts = np.unique(reason[~kept].astype(str), return_counts=True)
    dropped = dict(zip(names.tolist(), counts.tolist(), strict=True))
    ordered = {name: dropped[name] for name in (*REASONS, TOO_FEW) if name in dropped}
    return table_to_keep(image_id, owner, kept, reason), ordered


def identities_in_pairs(pairs: Suspects) -> int:
    """How many identities are in pairs of duplicates: fewer than two a pair where several are equally near."""
    return len(np.union1d(pairs.identity, pairs.other_identity))


def _reliable(summary: dict[str, Any]) -> bool:
    """Whether the pairs of identities that may be one are few enough to be errors of the data.

    Rounds of earlier versions know only the number of pairs.
    """
    pairs, identities = summary["suspects"]["duplicate"], summary["identities"]
    involved = summary.get("in_duplicates", min(2 * pairs, identities))
    return DuplicateTrust(pairs, involved, identities).reliable


def findings_in_words(summary: dict[str, Any], settings: CleanConfig) -> Iterator[str]:
    """A line for each reason, and what is dropped."""
    for reason, what in REASONS.items():
        count = summary["suspects"].get(reason)
        if count is None:
            continue
        things = (
            counted(count, "pair of identities", "pairs of identities")
            if reason == "duplicate"
            else counted(count, "image")
        )
        fate = "" if not count else ", dropped" if reason in settings.drop else ", only listed"
        if reason == "duplicate" and not _reliable(summary):
            fate += f", not yet reliable: {percent(MOST_WITH_PARTNER)} of the identities in such pairs would be believed"
        yield f"{reason}: {things}{fate} ({what})"
    total, dropped = summary["images"], sum(summary["dropped"].values())
    too_few = summary["dropped"].get(TOO_FEW)
    yield (
        f"{dropped:,} of {total:,} images ({percent(dropped / total, 1)}) have keep=false"
        + (
            f", {too_few:,} of them since their identity keeps fewer than {settings.min_images}"
            if too_few
            else ""
        )
    )

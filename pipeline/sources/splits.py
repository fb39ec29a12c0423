"""Which identities are trained on and which are held out: as the source says, or drawn by seed.

    pretrain   training identities that also serve pretraining
    train      the other training identities
    val, test  held out: none of their identities is ever trained on

Splits are disjoint in identities, not only in images: a network will be asked about people that it has never
seen, and a test on other photographs of the training identities would flatter it.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError

SPLITS = ("train", "pretrain", "val", "test")
TRAINING = ("train", "pretrain")

_ALIASES = {
    "": "train",
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
_PURPOSE = 1  # sets this draw apart from others made with the same seed


def canonical_split(name: str) -> str:
    """The split that `name` means: "Validation" and "dev" are val, "" is train; other names stay as they are."""
    lower = name.strip().lower()
    lower = _ALIASES.get(lower, lower)
    return lower if lower in SPLITS else name


def source_splits(rows: pa.Table, names: pa.Array, source: str, folders: bool, way: str) -> pa.ChunkedArray:
    """The source's own split of each row, made canonical.

    Split folders (`folders`) must not share an identity at all. A split column must not share one between training
    and the rest, while held-out splits may: a query and its gallery do. `way` is what to do about one that is shared.

    Raises:
        InputError: one is shared; the message names it.
    """
    distinct = rows["split"].unique()
    canonical = pa.array(map(canonical_split, distinct.to_pylist()), pa.large_string())
    split = canonical.take(pc.index_in(rows["split"], value_set=distinct))
    trained = pc.is_in(split, pa.array(TRAINING, pa.large_string()))
    side = split if folders else pc.if_else(trained, "a training split", "a held-out split")

    ends = pa.table({"identity_id": rows["identity_id"], "side": side}).group_by("identity_id")
    ends = ends.aggregate([("side", "min"), ("side", "max")])
    mixed = ends.filter(pc.not_equal(ends["side_min"], ends["side_max"])).sort_by("identity_id")
    for first in mixed.slice(0, 1).to_pylist():
        identity, sides = (
            names[first["identity_id"]].as_py(),
            f"{first['side_min']} and in {first['side_max']}",
        )
        raise InputError(
            f"{source}: identity {identity!r} is in {sides}; {way}, or draw the splits anew (--redraw-splits)"
        )
    return split


def with_pairs(rows: pa.Table, identities: int) -> np.ndarray:
    """Which identities have two kept images that an evaluation may compare, bool[I]: of different groups, where there are any.

    Args:
        rows: all rows of the identities 0 to I-1; a `group` that is empty is unlike any other.
    """
    keep = np.full(rows.num_rows, True)
    if "keep" in rows.column_names:
        keep = rows["keep"].fill_null(False).to_numpy()
    identity_id = rows["identity_id"].to_numpy()[keep]
    paired_I = np.bincount(identity_id, minlength=identities) >= 2
    if "group" not in rows.column_names:
        return paired_I
    text = rows["group"].cast(pa.large_string()).combine_chunks()
    text = pc.if_else(pc.equal(text, ""), None, text)
    group = text.dictionary_encode().indices.fill_null(-1).to_numpy()[keep]
    some_I = np.full(identities, -1)
    some_I[identity_id] = group
    apart = (group == -1) | (group != some_I[identity_id])
    return paired_I & (np.bincount(identity_id[apart], minlength=identities) > 0)


def way_to_validate(identities: int, *, drawn: bool) -> str:
    """What gives a manifest validation identities, two where there are five: one alone has nobody to be mistaken for.

    >>> way_to_validate(1000, drawn=True), way_to_validate(10, drawn=True), way_to_validate(10, drawn=False)
    ('add --val-fraction 0.05', 'add --val-fraction 0.2', 'give some the split val')
    """
    least = min(40, max(5, -(-200 // identities)))
    return f"add --val-fraction {least / 100}" if drawn else "give some the split val"


def draw_splits(paired_I: np.ndarray, *, test: float, val: float, pretrain: float, seed: int) -> np.ndarray:
    """Draw the split of each identity, as indices into SPLITS: int8[I]. `paired_I` says who has a pair, as `with_pairs`.

    Test gets round(test * I) identities and val round(val * I), without replacement, from those with a pair, as
    others have nothing to verify; fewer when there are not enough of them. Of the others,
    round(pretrain * others) serve pretraining. A pure function of its arguments; `pretrain` does not move the
    held-out identities, nor `val` those of test.
    """
    rng = np.random.default_rng([seed, _PURPOSE])
    n_test, n_val = round(test * len(paired_I)), round(val * len(paired_I))
    split_I = np.full(len(paired_I), SPLITS.index("train"), np.int8)
    pairable = rng.permutation(np.flatnonzero(paired_I))
    split_I[pairable[:n_test]] = SPLITS.index("test")
    split_I[pairable[n_test : n_test + n_val]] = SPLITS.index("val")
    training = rng.permutation(np.flatnonzero(split_I == SPLITS.index("train")))
    split_I[training[: round(pretrain * len(training))]] = SPLITS.index("pretrain")
    return split_I

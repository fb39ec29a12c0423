"""Pairs of glyph identities that no eye could tell apart, by a rule that knows no network; the second exam is without them.

    pip install confusable-homoglyphs==3.3.1
    python benchmarks/quality/lookalikes.py        # counts them, as a table

Two characters look alike if one face draws both nearly alike (the cosine of two stored pictures of that face is
NEAR or more, which is what the glyph set calls a near repeat), or if Unicode lists them as confusable (UTS #39). Only
pairs with a test identity are sought. They are found once, and kept beside the set.

Shapes: N stored pictures, of 1,024 grey levels from 0 to 15; n pairs.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby, permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from glyph_sets import WIDE, is_clean, wide_manifest

from subspace.mining.artifacts import whole_file
from subspace.mining.fingerprints import fingerprint_of
from subspace.mining.manifest import Manifest

NEAR = 98
"""The cosine in percent from which on two drawings of one face look alike: that of near repeats in the glyph set."""
LIST = "confusable-homoglyphs"
"""The package that ships Unicode's list."""
TABLE = WIDE / "lookalikes.parquet"
RULES = ("drawn alike", "confusable")
_SIDE, _HEADER, _DATA = (
    32,
    slice(33, 37),
    41,
)  # of a PNG as write_shards.py writes it: rows of 4-bit pixels, no filter
_BLOCK = 512
_ROUNDING = 1e-4


def lookalikes(wide: Manifest) -> pa.Table:
    """identity_id_a (a test identity), identity_id_b, rule; a pair that both rules find has two rows."""
    version = _list_version()
    told = {"of": wide.fingerprint, "near": NEAR, LIST: version, "rules": RULES, "classes": "whole"}
    fingerprint = fingerprint_of(told).encode()
    if TABLE.exists() and (pq.read_schema(TABLE).metadata or {}).get(b"fingerprint") == fingerprint:
        return pq.read_table(TABLE)
    found = [_drawn_alike_in(wide), _confusable_in(wide)]
    pairs = np.concatenate(found)
    table = pa.table(
        {
            "identity_id_a": pa.array(pairs[:, 0], pa.int32()),
            "identity_id_b": pa.array(pairs[:, 1], pa.int32()),
            "rule": pa.array(
                [rule for rule, part in zip(RULES, found, strict=True) for _ in part], pa.string()
            ),
        }
    ).replace_schema_metadata({"fingerprint": fingerprint})
    with whole_file(TABLE) as aside:
        pq.write_table(table, aside, compression="zstd")
    return table


def pairs_of(table: pa.Table) -> np.ndarray:
    """Both identities of each row of `lookalikes`: int64[n, 2]."""
    return np.stack(
        [table[name].to_numpy().astype(np.int64) for name in ("identity_id_a", "identity_id_b")], axis=1
    )


def told_apart(identity_id: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which of the identities, int[I] rising, are left so that no two of them are a pair: bool[I].

    Of two that look alike the later one goes, unless it has gone, or the earlier has.
    """
    pairs = pairs[np.isin(pairs, identity_id).all(axis=1)]
    later_first = np.sort(pairs, axis=1)
    left = np.ones(len(identity_id), bool)
    for earlier, later in np.searchsorted(
        identity_id, later_first[np.argsort(later_first[:, 1], kind="stable")]
    ):
        if left[earlier]:
            left[later] = False
    return left


def alike(identity_id: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The identities that look like one of these: int64[m], rising."""
    return np.unique(np.concatenate([pairs[np.isin(pairs[:, one], identity_id), 1 - one] for one in (0, 1)]))


def drawn_alike(
    levels: np.ndarray, face: np.ndarray, identity_id: np.ndarray, sought: np.ndarray, near: int = NEAR
) -> np.ndarray:
    """Pairs (sought, other) of identities that one face draws with a cosine of `near` percent or more: int64[n, 2].

    `levels` are uint8[N, pixels], none all black; `face` and `identity_id` int[N], and `sought` bool[N] says of which
    pictures a pair must have one. Whole numbers decide, so that every machine finds the same pairs.
    """
    pairs = [np.empty((0, 2), np.int64)]
    order = np.argsort(face, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(face[order])) + 1):
        wanted = rows[sought[rows]]
        if len(wanted):
            others = _unit(levels[rows])
            for start in range(0, len(wanted), _BLOCK):
                part = wanted[start : start + _BLOCK]
                place, other = np.nonzero(_unit(levels[part]) @ others.T >= near / 100 - _ROUNDING)
                one, another = part[place], rows[other]
                is_near = _are_near(levels[one].astype(np.int64), levels[another].astype(np.int64), near)
                pairs.append(np.stack([identity_id[one[is_near]], identity_id[another[is_near]]], axis=1))
    found = np.unique(np.concatenate(pairs).astype(np.int64), axis=0)
    return found[found[:, 0] != found[:, 1]]


def confusable(names: list[str]) -> list[tuple[int, int]]:
    """Places in a list of characters of all pairs that Unicode calls confusable, both ways."""
    path = files(LIST.replace("-", "_")) / "confusables.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    leader: dict[str, str] = {}  # of each class; the list joins a class only by its prototype

    def lead(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for one, others in listed.items():
        for other in others:
            leader[lead(_bare(other["c"]))] = lead(_bare(one))
    classes = defaultdict(list)
    for number, name in enumerate(names):
        if name in leader:
            classes[lead(name)].append(number)
    return [pair for members in classes.values() for pair in permutations(members, 2)]


def _bare(listed: str) -> str:
    return listed.replace("\u200e", "")  # the list sets marks of direction around letters that run leftwards


def _unit(levels: np.ndarray) -> np.ndarray:
    exact = levels.astype(np.float32)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)


def _are_near(one: np.ndarray, another: np.ndarray, near: int) -> np.ndarray:
    dot, square, other = (one * another).sum(1), (one * one).sum(1), (another * another).sum(1)
    return (100 * dot) ** 2 >= near**2 * square * other


def _list_version() -> str:
    try:
        return importlib.metadata.version(LIST)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(
            f"{LIST} is not installed; `pip install {LIST}==3.3.1` (Unicode's confusables) and run this again"
        )


def _test_identities(wide: Manifest) -> np.ndarray:
    return wide.identities_in(("test",)).identity_id


def _drawn_alike_in(wide: Manifest) -> np.ndarray:
    clean = _clean_identities(wide)
    image_id = np.flatnonzero(np.isin(wide.identity_id, clean))
    face = pq.read_table(WIDE / "image_faces.parquet", columns=["face"])["face"].to_numpy()[image_id]
    identity_id = wide.identity_id[image_id]
    levels = np.concatenate(list(_pictures(wide, image_id)))
    return drawn_alike(levels, face, identity_id, np.isin(identity_id, _test_identities(wide)))


def _confusable_in(wide: Manifest) -> np.ndarray:
    clean = _clean_identities(wide)
    names = [chr(int(name[2:], 16)) for name in wide.names_of(clean).to_pylist()]
    pairs = clean[np.array(confusable(names), np.int64).reshape(-1, 2)].astype(np.int64)
    return np.unique(pairs[np.isin(pairs[:, 0], _test_identities(wide))], axis=0)


def _clean_identities(wide: Manifest) -> np.ndarray:
    """Those that the exam may show: the test identities and what its distractors are drawn from."""
    found = wide.identities_in(("test", "train", "pretrain", "val")).identity_id
    return found[[is_clean(int(name[2:], 16)) for name in wide.names_of(found).to_pylist()]]


def _pictures(wide: Manifest, image_id: np.ndarray) -> Iterator[np.ndarray]:
    """Grey levels of images whose ids rise, uint8[n, 1024], a shard at a time."""
    table = wide.table.select(["uri", "offset", "length"]).take(pa.array(image_id)).to_pylist()
    for uri, rows in groupby(table, key=lambda row: row["uri"]):
        shard = (WIDE / uri).read_bytes()
        packed = [_packed(shard[row["offset"] : row["offset"] + row["length"]]) for row in rows]
        pixels = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), _SIDE, -1)[:, :, 1:]
        yield np.stack([pixels >> 4, pixels & 15], axis=3).reshape(len(packed), -1)


def _packed(png: bytes) -> bytes:
    return zlib.decompress(png[_DATA : _DATA + int.from_bytes(png[_HEADER])])


def main() -> None:
    """Print how many pairs each rule finds, and what the exam leaves out."""
    wide = wide_manifest()
    table = lookalikes(wide)
    test = _test_identities(wide)
    print("| rule | pairs of test identities | pairs with another | test identities left out |")
    print("|---|---|---|---|")
    kinds = table["rule"].to_numpy(zero_copy_only=False)
    titles = (f"one face draws both with a cosine of {NEAR / 100} or more", "confusable (UTS #39)", "either")
    for title, mask in zip(titles, (kinds == RULES[0], kinds == RULES[1], kinds != ""), strict=True):
        pairs = np.unique(np.sort(pairs_of(table)[mask], axis=1), axis=0)
        within = np.isin(pairs, test).all(axis=1).sum()
        left_out = (~told_apart(test, pairs)).sum()
        print(f"| {title} | {within:,} | {len(pairs) - within:,} | {left_out:,} |")


if __name__ == "__main__":
    main()

"""`subspace overlap A B`: identities of equal name and images of equal bytes in two manifests, by split."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...mining.artifacts import whole_file
from ...mining.machine import memory_with
from ...mining.manifest import Manifest
from ...mining.remote import in_words
from ...mining.schemas import BOX
from ..console import about, aligned
from ..estimates.estimate import of_memory
from ..estimates.row_speed import row_seconds, waited_seconds
from ..output_file import check_output, table_of
from ..rows.image_digests import Digests, digest_of, digests_of, in_blocks
from ..sources.bad_images import file_sizes
from ..sources.ingest import NO_BARS, Bars
from ..sources.places import placed_from
from ..sources.splits import TRAINING

KIND = "overlap"
"""What the table of pairs says that it is."""
BYTES_AN_IMAGE = 650
"""What an image of either side takes, where all are read and all are in both, as measured at two million each."""


@dataclass(frozen=True)
class SharedBySplit:
    """What a split of A shares with a split of B."""

    split_a: str
    split_b: str
    identities: int
    """With equal names."""
    images: int
    """Images of A whose bytes are in B too."""
    renamed: int
    """How many of these images have another identity there."""

    @property
    def leaks(self) -> bool:
        """Whether one side is trained on and the other held out."""
        return (self.split_a in TRAINING) != (self.split_b in TRAINING)


@dataclass(frozen=True)
class Overlap:
    """What two manifests share."""

    a: str
    b: str
    identities: int
    images: int | None
    """Images of A whose bytes are in B too; None where images were not compared."""
    splits: tuple[SharedBySplit, ...]
    hashed: int
    """Images whose bytes were read, as another has the same length."""
    unreadable: int

    def to_json(self) -> dict[str, Any]:
        """The result for a program."""
        return {**asdict(self), "splits": [{**asdict(s), "leaks": s.leaks} for s in self.splits]}

    def lines(self) -> list[str]:
        """The result for a person."""
        compared = "" if self.images is None else f", {self.images:,} images of the first are in the second"
        lines = [f"{self.a} and {self.b}: {self.identities:,} identities by name are in both{compared}"]
        if self.splits:
            rows = [["split of A", "split of B", "identities", "images", "renamed", ""]]
            for s in self.splits:
                leak = "trained on and held out" if s.leaks else ""
                rows.append(
                    [s.split_a, s.split_b, f"{s.identities:,}", f"{s.images:,}", f"{s.renamed:,}", leak]
                )
            lines += [f"  {line}".rstrip() for line in aligned(rows, (0, 1, 5)).splitlines()]
        if self.unreadable:
            lines.append(f"  {self.unreadable:,} images could not be read, and were not compared")
        return lines


def find_overlap(
    a: Path,
    b: Path,
    *,
    images: bool = True,
    out: Path | None = None,
    bars: Bars = NO_BARS,
    say: Callable[[str], None] = lambda line: None,
) -> Overlap:
    """Compare two manifests: identities by name, images by a hash of their bytes, and by their boxes.

    Only images whose length in bytes occurs on both sides are read. Memory: the manifests, and `BYTES_AN_IMAGE` for each image
    that is read and is on both sides.

    Args:
        images: compare images too.
        out: where the pairs are written as Parquet: `shared` (identity or image), and of both sides identity, split,
            and for images image_id and uri. Of images in B with equal bytes, the first of each split stands there.
        say: told what it may take.

    Raises:
        InputError: no manifests, or `out` cannot be written or may not be replaced.
    """
    if out is not None:
        check_output(out, table_of(KIND), [a, b])
    first, second = Manifest.open(a), Manifest.open(b)
    both = f"{len(first):,} and {len(second):,} images"
    seconds = (len(first) + len(second)) * row_seconds(lambda rows: _people(first.table[rows]), len(first))
    if images:
        for each in (first, second):
            seconds += len(each) * waited_seconds(
                lambda rows, each=each: _lengths(each, rows, _whole_uris(each, rows)), len(each)
            )
        most = memory_with(BYTES_AN_IMAGE * (len(first) + len(second)))
        say(f"overlap: {both}, {about(seconds)} until it is known which are read, at most {of_memory(most)}")
    else:
        say(f"overlap: names of {both}, {about(seconds)}")
    people = _people(first.table).join(
        _people(second.table), "identity", join_type="inner", left_suffix="_a", right_suffix="_b"
    )
    people = people.append_column("identity_b", people["identity"]).rename_columns(
        ["identity_a", *people.column_names[1:], "identity_b"]
    )
    same, hashed, unreadable = _same_images(first, second, bars, say) if images else (None, 0, 0)
    if out is not None:
        kinds = [("identity", people), ("image", same)]
        tables = [t.append_column("shared", pa.repeat(name, len(t))) for name, t in kinds if t is not None]
        pairs = pa.concat_tables(tables, promote_options="default").replace_schema_metadata({"kind": KIND})
        with whole_file(out) as aside:
            pq.write_table(pairs, aside, compression="zstd")
    return Overlap(
        a=in_words(a),
        b=in_words(b),
        identities=len(people["identity_a"].unique()),
        images=None if same is None else len(same["image_id_a"].unique()),
        splits=tuple(_by_split(people, same)),
        hashed=hashed,
        unreadable=unreadable,
    )


def _people(table: pa.Table) -> pa.Table:
    """Each identity of rows with each of its splits."""
    plain = pa.table({name: table[name].cast(pa.string()) for name in ("identity", "split")})
    return plain.group_by(["identity", "split"]).aggregate([]).sort_by("identity")


def _same_images(
    first: Manifest, second: Manifest, bars: Bars, say: Callable[[str], None]
) -> tuple[pa.Table, int, int]:
    """Pairs of images with equal bytes, how many images were read, and how many could not be."""
    uris = [_whole_uris(manifest, slice(None)) for manifest in (first, second)]
    with bars("look up", len(first) + len(second), "images") as bar:
        lengths = [
            _lengths(m, slice(None), u, bar.update) for m, u in zip((first, second), uris, strict=True)
        ]
    alike = [
        np.flatnonzero(np.isin(own, np.intersect1d(lengths[0], lengths[1])) & (own > 0)) for own in lengths
    ]
    tables, read, unreadable = [], sum(map(len, alike)), sum(int((own < 0).sum()) for own in lengths)
    sides = list(zip((first, second), uris, alike, strict=True))
    say(
        f"overlap: {read:,} images are as long as one of the other manifest, and are read, {about(_reading_seconds(sides))}"
    )
    with bars("read", read, "images") as bar:
        for manifest, whole, image_id in sides:
            digests = []
            boxes = _boxes(manifest)
            for some in _digests(manifest, whole, image_id):
                digests += some
                bar.update(len(some))
            rows = manifest.table.select(["identity", "split"]).take(pa.array(image_id))
            table = pa.table({
                "digest": pa.array(digests, pa.binary()), "box": boxes.take(pa.array(image_id)),
                "identity": rows["identity"].cast(pa.string()),
                "split": rows["split"].cast(pa.string()), "image_id": image_id,
                "uri": whole.take(pa.array(image_id)).cast(pa.string()),
            })  # fmt: skip
            unreadable += table["digest"].null_count
            tables.append(table.filter(table["digest"].is_valid()))
    ours, theirs = tables
    # Two crops of one photograph are two images.
    once = theirs.group_by(["digest", "box", "split"]).aggregate([("image_id", "min")])["image_id_min"]
    theirs = theirs.filter(pc.is_in(theirs["image_id"], value_set=once))
    pairs = ours.join(theirs, ["digest", "box"], join_type="inner", left_suffix="_a", right_suffix="_b")
    pairs = pairs.sort_by([("image_id_a", "ascending"), ("image_id_b", "ascending")])
    return pairs.drop_columns(["digest", "box"]), read, unreadable


def _boxes(manifest: Manifest) -> pa.ChunkedArray:
    """The box of each image as text; empty where the whole image counts."""
    sides = [manifest.table[name].cast(pa.string()) for name in BOX if name in manifest.columns]
    if not sides:
        return pa.chunked_array([pa.repeat("", len(manifest))])
    return pc.binary_join_element_wise(*sides, " ").fill_null("")


def _reading_seconds(sides: Sequence[tuple[Manifest, pa.ChunkedArray, np.ndarray]]) -> float:
    """Seconds until all images of both sides are read, by the first ones of each."""
    return sum(
        len(image_id)
        * waited_seconds(
            lambda rows, side=(manifest, whole), image_id=image_id: list(_digests(*side, image_id[rows])),
            len(image_id),
        )
        for manifest, whole, image_id in sides
    )


def _whole_uris(manifest: Manifest, rows: slice) -> pa.ChunkedArray:
    uri = manifest.table["uri"][rows].cast(pa.large_string()).fill_null("")
    if "image" in manifest.columns:
        return uri
    place = placed_from(manifest.folder)
    return pa.chunked_array([place(chunk) for chunk in uri.chunks], pa.large_string())


def _lengths(
    manifest: Manifest,
    rows: slice,
    uris: pa.ChunkedArray,
    seen: Callable[[int], object] = lambda images: None,
) -> np.ndarray:
    """Bytes of each image of some rows, int64[n]; -1 where there is none."""
    if "image" in manifest.columns:
        images = manifest.table["image"][rows]
        seen(len(images))
        return pc.binary_length(images).cast(pa.int64()).fill_null(-1).to_numpy()
    length = manifest.table["length"][rows]
    whole = length.is_null().to_numpy()
    found = length.fill_null(-1).to_numpy().copy()
    seen(len(found) - int(whole.sum()))
    if whole.any():
        found[whole] = file_sizes(uris.filter(pa.array(whole)).combine_chunks(), seen)
    return found


def _digests(manifest: Manifest, uris: pa.ChunkedArray, image_id: np.ndarray) -> Iterator[Digests]:
    """A hash of the bytes of each image, some at a time."""
    from ...train.data.image_files import Piece

    table = manifest.table

    def hashes(block: slice) -> Digests:
        rows = pa.array(image_id[block])
        if "image" in table.column_names:
            return [digest_of(image) for image in table["image"].take(rows).to_pylist()]
        where = (uris.take(rows), table["offset"].take(rows), table["length"].take(rows))
        pieces = [
            Piece(uri, offset or 0, length, place)
            for place, (uri, offset, length) in enumerate(zip(*(c.to_pylist() for c in where), strict=True))
        ]
        found = digests_of(pieces)
        return [found[place] for place in range(len(pieces))]

    return in_blocks(len(image_id), hashes)


def _by_split(people: pa.Table, same: pa.Table | None) -> list[SharedBySplit]:
    """What each pair of splits shares, where it is anything; training against held out first."""
    counts: dict[tuple[str, str], list[int]] = {}
    for place, table, column in ((0, people, "identity_a"), (1, same, "image_id_a")):
        if table is not None:
            found = table.group_by(["split_a", "split_b"]).aggregate([(column, "count_distinct")])
            for row in found.to_pylist():
                key = (row["split_a"], row["split_b"])
                counts.setdefault(key, [0, 0, 0])[place] = row[f"{column}_count_distinct"]
    if same is not None:
        other = same.filter(pc.not_equal(same["identity_a"], same["identity_b"]))
        for row in (
            other.group_by(["split_a", "split_b"]).aggregate([("image_id_a", "count_distinct")]).to_pylist()
        ):
            counts[row["split_a"], row["split_b"]][2] = row["image_id_a_count_distinct"]
    shared = [SharedBySplit(*key, *count) for key, count in counts.items()]
    return sorted(shared, key=lambda one: (not one.leaks, one.split_a, one.split_b))

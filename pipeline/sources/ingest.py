"""Any supported source of labelled images -> one image manifest, the file that all other stages start from.

The manifest depends on what the source says and on nothing else: rows are ordered by their content, so a shuffled
CSV or another file system gives the same file, byte for byte. Nothing is copied but images that were inside a
Parquet file, and no image is decoded. About 200 bytes of memory a row, whatever the size of the images.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from .bad_images import GOOD, MISSING, bad_image_error, file_sizes, quarantine_table, reasons_against
from .image_spool import ImageSpool
from .listing import Listing, named, refusal
from .manifest_writer import quarantine_path, write_manifest
from .options import IngestOptions, Track
from .readers import read_sources
from .splits import SPLITS, draw_splits, source_splits


@dataclass(frozen=True)
class SplitCount:
    """How much of a manifest one split has."""

    split: str
    identities: int
    images: int


@dataclass(frozen=True)
class IngestSummary:
    """What a manifest holds, and what was left out of it."""

    out: Path
    fingerprint: str
    images: int
    identities: int
    singletons: int
    """Identities with one image."""
    splits: tuple[SplitCount, ...]
    """In the order train, pretrain, val, test, then any others."""
    quarantined: int
    """Images that are missing or broken, and so not in the manifest."""
    reading: str
    """What the source was read as: which part of it is the identity, the path, the split."""
    notes: tuple[str, ...]
    """What may surprise: where the splits are from, fewer held out than asked for, identities left out."""

    def to_json(self) -> dict[str, Any]:
        """The summary for a program."""
        return {**asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        """The summary for a person."""
        return [
            f"read as {self.reading}",
            f"{self.out}: {self.images:,} images of {self.identities:,} identities, {self.singletons:,} with one image",
            *(f"  {s.split:<9}{s.identities:>11,} identities{s.images:>13,} images" for s in self.splits),
            *(f"  {note}" for note in self.notes),
        ]


def ingest_images(
    source: Path | Sequence[Path], out: Path, options: IngestOptions, progress: Track = iter
) -> IngestSummary:
    """Write the manifest `out` of the images in `source`: anything of `READERS`, or several of one kind.

    Identities are numbered in the byte order of their names. Rows are ordered by identity, then uri, then all
    else that is known of them. The fingerprint is a hash of the rows' content and of the files' sizes, not of
    their dates. With `on_bad_image` quarantine, bad images are listed at `quarantine_path(out)`, with image_id
    -1 as they have no row here, except when all files are missing: then a wrong root is more likely.

    Raises:
        InputError: anything wrong with the source, or `out` cannot be written; an old `out` then stays.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    name = named(sources)
    for path in sources:
        if path.resolve() in (out.resolve(), quarantine_path(out).resolve()):
            raise InputError(
                f"{path} would be overwritten by its own manifest {out}; write it somewhere else"
            )
    with ImageSpool(beside=out) as spool:
        listing = _read(sources, options, spool, progress)
        rows = listing.rows
        images = spool.images()
        rows, names = _in_order(rows, images)
        if not len(images):
            track = iter if listing.counted else progress
            rows = rows.append_column("size", [file_sizes(rows["uri"].chunk(0), track)])
        reason = reasons_against(rows)
        if (reason != GOOD).any() and (options.on_bad_image == "fail" or (reason == MISSING).all()):
            raise bad_image_error(name, rows, reason)
        bad = quarantine_table(rows, names, reason, listing.refused)
        rows, names, notes = _with_enough_images(rows.filter(reason == GOOD), names, options.min_images)
        if len(names) < 2:
            few = f"{name} has {len(names)} identities with {options.min_images} or more good images"
            raise InputError(f"{few}; there must be two to tell apart")
        if "split" in rows.column_names:
            split = source_splits(rows, names, name, listing.split_folders)
            more_notes = ["splits are the source's own"]
        else:
            split, more_notes = _draw(rows["identity_id"].to_numpy(), options)
        if not pc.any(pc.equal(split, "val")).as_py():
            hint = "give some the split val" if "split" in rows.column_names else "add --val-fraction 0.05"
            more_notes.append(f"nobody to validate on, so `subspace run` keeps no best round: {hint}")
        rows = _with(rows, "split", split)
        fingerprint = write_manifest(out, rows, names, images, bad)
    said = (*listing.notes, *notes, *more_notes)
    return _summary(out, fingerprint, rows, bad.num_rows, listing.reading, said)


def _read(sources: list[Path], options: IngestOptions, spool: ImageSpool, progress: Track) -> Listing:
    """The sources' rows, each column in one chunk; their inline images are in `spool`."""
    listing = read_sources(sources, options, spool, progress)
    rows, source = listing.rows, named(sources)
    if len(listing.refused) and options.on_bad_image == "fail":
        raise refusal(sources, listing.refused, len(rows))
    if not rows.num_rows:
        raise InputError(
            f"{source} lists no images: {'; '.join(listing.notes) or 'it has columns and no rows'}"
        )
    blank = pc.index(pc.equal(pc.utf8_trim_whitespace(rows["identity"]), ""), True).as_py()
    if blank >= 0:
        row = f"row {blank + 1} ({rows['uri'][blank]})"
        raise InputError(f"{source}: {row} has an empty identity; name it, or leave the row out")
    return replace(listing, rows=rows.combine_chunks())


def _in_order(listed: pa.Table, images: pa.Array) -> tuple[pa.Table, pa.Array]:
    """Sort rows by all that is known of them; return them with the names of the identities.

    `identity` becomes `identity_id`, the rank of the name in byte order. Inline images stay where they are, and
    are compared only where all else is equal; `row` says which one belongs to a row, `size` how large it is.
    """
    identity = listed["identity"].chunk(0).dictionary_encode()
    by_bytes = pc.sort_indices(identity.dictionary).to_numpy()
    rank = np.empty(len(by_bytes), np.int32)
    rank[by_bytes] = np.arange(len(by_bytes))
    rows = listed.drop_columns(["identity"]).add_column(0, "identity_id", [rank[identity.indices.to_numpy()]])

    compared = rows.append_column("image", images) if len(images) else rows
    order = pc.sort_indices(compared, [(name, "ascending") for name in compared.column_names])
    rows = rows.take(order)
    if len(images):
        rows = rows.append_column("size", pc.binary_length(images).take(order)).append_column("row", order)
    return rows, identity.dictionary.take(by_bytes)


def _with_enough_images(rows: pa.Table, names: pa.Array, least: int) -> tuple[pa.Table, pa.Array, list[str]]:
    """Leave out identities with fewer than `least` images, and number the others without gaps."""
    identity_id = rows["identity_id"].to_numpy()
    kept_I = np.bincount(identity_id, minlength=len(names)) >= least
    if kept_I.all():
        return rows, names, []
    number_I = np.cumsum(kept_I, dtype=np.int32) - 1
    rows = _with(rows, "identity_id", pa.array(number_I[identity_id])).filter(kept_I[identity_id])
    note = f"{np.count_nonzero(~kept_I):,} identities left out: they have fewer than {least} good images"
    return rows, names.filter(kept_I), [note]


def _draw(identity_id: np.ndarray, options: IngestOptions) -> tuple[pa.Array, list[str]]:
    """Draw the split of each row; say where there are fewer identities to hold out than asked for."""
    images_I = np.bincount(identity_id)
    held_out = {"test": options.test_fraction, "val": options.val_fraction}
    split_I = draw_splits(images_I, **held_out, pretrain=options.pretrain_fraction, seed=options.seed)
    notes = []
    for split, fraction in held_out.items():
        drawn, wanted = np.count_nonzero(split_I == SPLITS.index(split)), round(fraction * len(images_I))
        if drawn < wanted:
            notes.append(f"{split} has {drawn:,} of {wanted:,} identities, for want of any with two images")
    if split_I.min() >= SPLITS.index("val"):
        raise InputError(f"{held_out} of {len(images_I)} identities leave none to train on; hold out less")
    return pa.array(SPLITS, pa.large_string()).take(split_I[identity_id]), notes


def _with(rows: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """`rows` with that column in place of the one of the same name, or as its last."""
    index = rows.schema.get_field_index(name)
    return rows.append_column(name, column) if index < 0 else rows.set_column(index, name, column)


def _summary(
    out: Path, fingerprint: str, rows: pa.Table, quarantined: int, reading: str, notes: tuple[str, ...]
) -> IngestSummary:
    """Count what was written."""
    images_I = np.bincount(rows["identity_id"].to_numpy())
    counts = rows.group_by("split").aggregate([("identity_id", "count_distinct"), ("identity_id", "count")])
    splits = [SplitCount(*count.values()) for count in counts.to_pylist()]
    known = {name: index for index, name in enumerate(SPLITS)}
    splits.sort(key=lambda count: (known.get(count.split, len(SPLITS)), count.split))
    if quarantined:
        notes = (f"{quarantined:,} bad images left out, listed in {quarantine_path(out)}", *notes)
    return IngestSummary(
        out=out,
        fingerprint=fingerprint,
        images=rows.num_rows,
        identities=len(images_I),
        singletons=int(np.count_nonzero(images_I == 1)),
        splits=tuple(splits),
        quarantined=quarantined,
        reading=reading,
        notes=notes,
    )

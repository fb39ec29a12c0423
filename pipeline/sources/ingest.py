"""Any supported source of labelled images -> one image manifest, the file that all other stages start from.

The manifest depends on what the source says and on nothing else: rows are ordered by their content, so a shuffled
CSV or another file system gives the same file, byte for byte. Nothing is copied but images that were inside a
Parquet file, and no image is decoded. Memory is bounded: rows wait in scratch files beside the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.artifacts import remove_leftovers
from ...mining.errors import InputError
from ...mining.schemas import MANIFEST, QUARANTINE
from ..console import Console, Progress
from ..output_file import check_output, table_of
from ..rows.image_repeats import SharedImage, image_sizes, shared_images, shared_table
from ..rows.image_spool import ImageSpool
from ..rows.ingest_summary import IngestSummary, SplitCount
from ..rows.manifest_writer import quarantine_path, write_manifest
from ..rows.row_order import MANY_ROWS, RowOrder, work_in_words
from ..rows.row_scratch import RowScratch
from ..tables.column_doubts import ColumnDoubts
from .alike_names import said_of_alike
from .bad_images import file_sizes
from .layout import SKIP
from .listing import JunkCount, Listing, named, refusal, refuse_blank
from .options import IngestOptions
from .readers import Reader, read_sources
from .row_selection import RowSelection, paired_without
from .shard_folder import all_shards_of
from .splits import SPLITS, TRAINING, draw_splits, way_to_validate

Bars = Callable[[str, int | None, str], AbstractContextManager[Progress]]
"""Shows one kind of work: what, how much of it (None: unknown), in which unit."""
NO_BARS: Bars = Console(quiet=True).progress
Say = Callable[[str], object]
"""Says a line before long work begins."""


def ingest_images(
    source: Path | Sequence[Path],
    out: Path,
    options: IngestOptions,
    bars: Bars = NO_BARS,
    say: Say = lambda line: None,
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
    return make_manifest(sources, read_sources, out, options, bars, say)


def make_manifest(
    sources: Sequence[Path], reader: Reader, out: Path, options: IngestOptions, bars: Bars, say: Say
) -> IngestSummary:
    """Write the manifest `out` of the rows that `reader` lists, as `ingest_images` does."""
    files = all_shards_of(sources).files
    for place, kind in ((Path, MANIFEST), (quarantine_path, QUARANTINE)):
        check_output(place(out), table_of(kind.name), files)
        remove_leftovers(place(out))
    source = named(sources)
    with ImageSpool(beside=out) as spool, RowOrder(beside=out) as order, RowScratch(beside=out) as kept:
        with bars("read", None, "images") as bar:
            listing = reader(sources, options, spool, bar.over)
            said = list(listing.notes)
            for rows in _read(sources, listing, options, said, inline=len(spool.images()) > 0):
                order.add(rows)
                if not listing.counted:
                    bar.update(rows.num_rows)
        if order.rows >= MANY_ROWS:
            say(work_in_words(order.rows))
        lengths = pc.binary_length(images := spool.images())  # pyright: ignore[reportAttributeAccessIssue]
        doubts = ColumnDoubts(source, listing.guessed, listing.unused)
        selection = RowSelection(source, listing, options, kept, images)
        with bars("check", order.rows, "images") as bar:
            repeats = 0
            for names, rows in order.ranges(images):
                bar.update(order.repeats - repeats)
                repeats = order.repeats
                if len(images):
                    rows = rows.append_column("size", lengths.take(rows["row"]))
                    bar.update(rows.num_rows)
                else:
                    rows = rows.append_column("size", [file_sizes(rows["uri"].chunk(0), bar.update)])
                doubts.add(rows)
                selection.add(names, rows)
        said += doubts.notes()
        names, images_I, bad, more = selection.finish()
        if order.repeats:
            said.append(
                f"{order.repeats:,} images left out: their rows repeat others in all that is known of them"
            )
        notes = [*said, *more, *said_of_alike(names)]
        shared, paired_I = _shared(kept, images, options, bars), selection.paired
        if selection.splits:
            aside = [one for one in shared if one.split not in TRAINING]
            left_I = paired_without(kept.tables(), paired_I, *_places(aside))
            lost = sorted(
                {one.identity_id for one in aside if paired_I[one.identity_id] > left_I[one.identity_id]}
            )
            split_I, splits = None, _count_own(selection.splits, aside)
            notes.append("splits are the source's own: no fraction is drawn (--redraw-splits does)")
            if own := sorted(selection.splits.keys() - {*SPLITS}):
                notes.append(
                    f"no stage uses the split {', '.join(own)}, unless data.train_splits, data.test_splits, "
                    "data.distractor_splits and the like name it"
                )
            if not {*TRAINING} & selection.splits.keys():
                notes.append(
                    f"nobody to train on: all images are in {' and '.join(sorted(selection.splits))}"
                )
            if "test" not in selection.splits:
                notes.append("nobody to test on: give some the split test, or draw splits (--redraw-splits)")
        else:
            # an image of two identities is no test image, so it makes no pair to draw by
            left_I = paired_without(kept.tables(), paired_I, *_places(shared))
            split_I, more = _draw(left_I, options, grouped="group" in selection.optional)
            shared = [one._replace(split=SPLITS[split_I[one.identity_id]]) for one in shared]
            aside, lost = [one for one in shared if one.split not in TRAINING], []
            notes += more
            splits = _count(split_I, images_I - _of_each(aside, len(images_I)))
        images_I = images_I - _of_each(aside, len(images_I))
        if "val" not in {count.split for count in splits}:
            hint = way_to_validate(len(images_I), drawn=split_I is not None)
            notes.append(f"nobody to validate on, so `subspace run` keeps no best round: {hint}")
        notes += _said_of_repeats(selection.repeats, shared, out)
        if lost:
            notes.append(
                f"{len(lost):,} held-out identities lose their last pair by that, such as {names[lost[0]].as_py()}: "
                "nothing is verified of them"
            )
        with bars("write", kept.rows, "images") as bar:
            rows = _without(_with_splits(selection.rows(), split_I), set_aside := _places(aside)[0])
            bad_count = bad.num_rows
            bad = pa.concat_tables([bad, selection.repeats, shared_table(shared, names)])
            fingerprint = write_manifest(out, rows, selection.optional, names, images, bad, bar.update)
    known = {name: index for index, name in enumerate(SPLITS)}
    splits.sort(key=lambda count: (known.get(count.split, len(SPLITS)), count.split))
    if bad_count:
        notes.insert(0, f"{bad_count:,} bad images left out, listed in {quarantine_path(out)}")
    return IngestSummary(
        out=out,
        fingerprint=fingerprint,
        images=int(images_I.sum()),
        identities=len(images_I),
        singletons=int(np.count_nonzero(images_I == 1)),
        splits=tuple(splits),
        quarantined=bad_count,
        reading=listing.reading,
        notes=tuple(notes),
        repeats=selection.repeats.num_rows,
        shared_held_out=len(set_aside),
        shared_training=len(shared) - len(set_aside),
    )


def _read(
    sources: Sequence[Path], listing: Listing, options: IngestOptions, said: list[str], *, inline: bool
) -> Iterator[pa.Table]:
    """The rows that were listed, without those of nobody; each has an identity. What was left out is `said`."""
    source, seen, kept, nobody = named(sources), 0, 0, JunkCount(options)
    for rows in listing.tables():
        refuse_blank(source, rows, seen, options)
        seen += rows.num_rows
        if inline:  # the readers leave out those of junk themselves; each row knows its image before any goes
            rows = rows.append_column("row", pa.array(np.arange(seen - rows.num_rows, seen)))
        else:
            rows = rows.filter(nobody.others(rows["identity"]))
        if options.redraw_splits and "split" in rows.column_names:
            rows = rows.drop_columns(["split"])
        elif inline and "split" in rows.column_names:
            rows = rows.filter(pc.not_equal(rows["split"], SKIP))  # pyright: ignore[reportAttributeAccessIssue]
        kept += rows.num_rows
        yield rows
    said += nobody.notes()
    said += [note for later in listing.later for note in later()]
    if len(listing.refused) and options.on_bad_image == "fail":
        raise refusal(sources, listing.refused, kept)
    if not kept:
        raise InputError(f"{source} lists no images: {'; '.join(said) or 'it has columns and no rows'}")


def _draw(paired_I: np.ndarray, options: IngestOptions, *, grouped: bool) -> tuple[np.ndarray, list[str]]:
    """Draw the split of each identity; say where there are fewer to hold out than asked for."""
    held_out = {"test": options.test_fraction, "val": options.val_fraction}
    split_I = draw_splits(paired_I, **held_out, pretrain=options.pretrain_fraction, seed=options.seed)
    notes = []
    for split, fraction in held_out.items():
        drawn, wanted = np.count_nonzero(split_I == SPLITS.index(split)), round(fraction * len(paired_I))
        if drawn < wanted:
            of_groups = (
                " of different groups (column group; --no-group-column leaves it out)" if grouped else ""
            )
            notes.append(
                f"{split} has {drawn:,} of {wanted:,} identities, for want of any with two images{of_groups}"
            )
    if split_I.min() >= SPLITS.index("val"):
        raise InputError(f"{held_out} of {len(paired_I)} identities leave none to train on; hold out less")
    return split_I, notes


def _count(split_I: np.ndarray, images_I: np.ndarray) -> list[SplitCount]:
    """How much each split that somebody was drawn for has."""
    identities = np.bincount(split_I, minlength=len(SPLITS)).tolist()
    images = np.bincount(split_I, images_I, minlength=len(SPLITS)).astype(int).tolist()
    return [SplitCount(*count) for count in zip(SPLITS, identities, images, strict=True) if count[1]]


def _count_own(splits: Mapping[str, tuple[int, int]], aside: Sequence[SharedImage]) -> list[SplitCount]:
    """How much each split of the source has, without the images that are set aside."""
    fewer = Counter(one.split for one in aside)
    return [
        SplitCount(name, identities, images - fewer[name]) for name, (identities, images) in splits.items()
    ]


def _of_each(images: Sequence[SharedImage], identities: int) -> np.ndarray:
    """How many of `images` each identity has, int64[I]."""
    return np.bincount(_places(images)[1], minlength=identities)


def _with_splits(tables: Iterable[pa.Table], split_I: np.ndarray | None) -> Iterator[pa.Table]:
    """The rows, with the split that was drawn for their identity."""
    names = pa.array(SPLITS, pa.large_string())
    for rows in tables:
        if split_I is not None:
            rows = rows.append_column("split", names.take(pa.array(split_I[rows["identity_id"].to_numpy()])))
        yield rows


def _shared(
    kept: RowScratch,
    images: pa.Array,
    options: IngestOptions,
    bars: Bars,
) -> list[SharedImage]:
    """Images of two identities, with the source's own splits."""
    if options.check_repeats == "none":
        return []
    compare = options.check_repeats == "all"
    sizes, read = image_sizes(kept.tables())
    with bars("compare", int(np.count_nonzero(read)), "images") as bar:
        return shared_images(kept.tables, images, compare, sizes, read, bar.update)


def _places(shared: Sequence[SharedImage]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and identities of images, int64[n] each."""
    return np.array([one.row for one in shared], np.int64), np.array(
        [one.identity_id for one in shared], np.int64
    )


def _without(tables: Iterable[pa.Table], set_aside: np.ndarray) -> Iterator[pa.Table]:
    """The rows, `keep` false in those that are set aside, by their numbers in ascending order."""
    start = 0
    for rows in tables:
        if len(set_aside):
            keep = np.ones(len(rows), bool)
            if "keep" in rows.column_names:
                keep = rows["keep"].fill_null(True).to_numpy().copy()
                rows = rows.drop_columns(["keep"])
            begin, end = np.searchsorted(set_aside, (start, start + len(rows)))
            keep[set_aside[begin:end] - start] = False
            rows = rows.append_column("keep", pa.array(keep))
        start += len(rows)
        yield rows


def _said_of_repeats(repeats: pa.Table, shared: Sequence[SharedImage], out: Path) -> Iterator[str]:
    """How many images are there more than once, and what became of them."""
    listed = f"listed in {quarantine_path(out)}"
    if repeats.num_rows:
        yield f"{repeats.num_rows:,} images left out: each is the same as another of its identity, {listed}"
    for held_out, done in (
        (True, "not kept (keep is false) nor counted"),
        (False, "kept: correct their labels, or clean"),
    ):
        some = [one for one in shared if (one.split not in TRAINING) == held_out]
        if some:
            first = some[0]
            yield (
                f"{len(some):,} {'held-out' if held_out else 'training'} images are another identity's too, such as "
                f"{first.called}: {done}, {listed}"
            )

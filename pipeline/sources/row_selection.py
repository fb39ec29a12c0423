"""Which rows of a source go into its manifest: those of good images, of identities with enough of them."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.manifest import group_by_identity
from ...mining.randomness import generator
from ...mining.schemas import MANIFEST, QUARANTINE
from ..rows.image_repeats import repeats_within, with_flags_of_repeats
from ..rows.row_scratch import RowScratch
from .bad_images import (
    GOOD,
    MISSING,
    REASONS,
    bad_image_error,
    called,
    quarantine_table,
    reasons_against,
    refused_images,
    repeats_table,
)
from .listing import Listing
from .options import IngestOptions
from .splits import source_splits, with_pairs


class RowSelection:
    """Takes rows in order, a range of identities at a time, and passes on those that the manifest shall have.

    Args:
        source: what messages call it.
        listing: what its reader said of it.
        kept: where the rows go; `identity_id` then counts through all of them.
        images: inline images, by the column `row`.
    """

    def __init__(
        self,
        source: str,
        listing: Listing,
        options: IngestOptions,
        kept: RowScratch,
        images: pa.Array,
    ) -> None:
        self._source, self._listing, self._options, self._kept = source, listing, options, kept
        self._inline = images
        self.repeats = QUARANTINE.columns.empty_table()
        """Images left out as another of their identity is the same."""
        self._random = generator(options.seed, "max images")
        self._names: list[pa.Array] = []
        self._images: list[np.ndarray] = []
        self._paired: list[np.ndarray] = []
        self._bad = [refused_images(listing.refused)]
        self._reasons = np.zeros(len(REASONS), np.int64)
        self._first_bad: dict[int, str] = {}
        self._few = self._drawn_out = self._crowded = self._by_role = self._not_kept = 0
        self.splits: dict[str, tuple[int, int]] = {}
        """Identities and images of each split that the source names."""
        self.optional: set[str] = set()
        """Columns that manifests may have, of which some row has a value."""

    def add(self, names: pa.Array, rows: pa.Table) -> None:
        """Select among all rows of some identities, whose `identity_id` is an index into `names`.

        Raises:
            InputError: an identity in two splits that may not share it.
        """
        reason = reasons_against(rows)
        self._reasons += np.bincount(reason, minlength=len(REASONS))
        if (reason != GOOD).any():
            for number in np.unique(reason[reason != GOOD]).tolist():
                self._first_bad.setdefault(number, called(rows, int(np.argmax(reason == number))))
            self._bad.append(quarantine_table(rows, names, reason))
            rows = rows.filter(pa.array(reason == GOOD))
        repeated = repeats_within(rows, self._inline, compare=self._options.check_repeats != "none")
        if (repeated >= 0).any():
            self.repeats = pa.concat_tables([self.repeats, repeats_table(rows, names, repeated)])
            rows = with_flags_of_repeats(rows, repeated).filter(pa.array(repeated < 0))
        rows, names = self._with_enough_images(rows, names)
        if not rows.num_rows:
            return
        rows = self._with_few_enough(rows)
        if "split" in rows.column_names:
            folders, way = self._listing.split_folders, self._listing.one_split
            split = source_splits(rows, names, self._source, folders, way)
            rows = rows.set_column(rows.schema.get_field_index("split"), "split", split)
            self._count(rows)
        for name in MANIFEST.optional.names:
            if name in rows.column_names and _says_anything(rows[name]):
                self.optional.add(name)
        self._not_kept += int(np.count_nonzero(~_true(rows, "keep", True)))
        identity_id = rows["identity_id"].to_numpy()
        first = sum(map(len, self._names))
        self._names.append(names)
        self._paired.append(with_pairs(rows, len(names)))
        self._images.append(np.bincount(identity_id, minlength=len(names)))
        self._kept.add(rows.set_column(0, "identity_id", pa.array(identity_id + np.int32(first))))

    def rows(self) -> Iterator[pa.Table]:
        """All rows that were selected; with `keep` only where it is false for some."""
        for rows in self._kept.tables():
            yield rows.drop_columns(["keep"]) if "keep" in rows.column_names and not self._not_kept else rows

    @property
    def paired(self) -> np.ndarray:
        """Which identities have a pair to be examined on, bool[I]."""
        return np.concatenate(self._paired)

    def finish(self) -> tuple[pa.Array, np.ndarray, pa.Table, list[str]]:
        """Names of the identities, images of each (int64[I]), the QUARANTINE table, and what else to say.

        Raises:
            InputError: bad images where none may be; all of them missing; fewer than two identities left.
        """
        bad = int(self._reasons.sum() - self._reasons[GOOD])
        if bad and (self._options.on_bad_image == "fail" or self._reasons[MISSING] == self._reasons.sum()):
            worst = min(self._first_bad)
            count, first = int(self._reasons[worst]), self._first_bad[worst]
            raise bad_image_error(self._source, worst, count, first, self._listing)
        names = pa.concat_arrays([pa.array([], pa.large_string()), *self._names])
        least, most = self._options.min_images, self._options.max_images
        if len(names) < 2:
            few = f"{self._source} has {len(names)} identities with {least} or more good images"
            raise InputError(f"{few}; there must be two to tell apart")
        notes = []
        if self._few:
            notes.append(f"{self._few:,} identities left out: they have fewer than {least} good images")
        if self._drawn_out:
            drawn = f"{self._drawn_out:,} images left out by seed {self._options.seed}"
            notes.append(f"{drawn}: {self._crowded:,} identities have more than {most}")
        if self._by_role:
            notes.append(
                f"{self._by_role:,} query and gallery images all stay: --max-images draws among the others"
            )
        if self._not_kept:
            notes.append(f"{self._not_kept:,} images are not kept: the source's column keep is false")
        return names, np.concatenate(self._images), pa.concat_tables(self._bad), notes

    def _with_enough_images(self, rows: pa.Table, names: pa.Array) -> tuple[pa.Table, pa.Array]:
        """Leave out identities with fewer than `min_images` that are kept, and number the others without gaps."""
        identity_id = rows["identity_id"].to_numpy()
        counted = (
            _true(rows, "keep", True) if self._options.min_images > 1 else np.full(len(identity_id), True)
        )
        kept_I = np.bincount(identity_id[counted], minlength=len(names)) >= self._options.min_images
        if kept_I.all():
            return rows, names
        self._few += int(np.count_nonzero(~kept_I))
        number_I = np.cumsum(kept_I, dtype=np.int32) - np.int32(1)
        rows = rows.set_column(0, "identity_id", pa.array(number_I[identity_id]))
        return rows.filter(pa.array(kept_I[identity_id])), names.filter(pa.array(kept_I))

    def _with_few_enough(self, rows: pa.Table) -> pa.Table:
        """Draw `max_images` of identities with more; one stream of numbers, so ranges leave no trace.

        Images that are not kept neither count nor are they drawn: they stay as they are, as do queries and galleries.
        """
        most = self._options.max_images
        if most is None:
            return rows
        has_role = _true(rows, "is_query", False) | _true(rows, "is_gallery", False)
        drawable = _true(rows, "keep", True) & ~has_role
        whose = group_by_identity(rows["identity_id"].to_numpy(), drawable)
        drawn = whose.at_most(most, self._random)
        self._by_role += int(np.count_nonzero(has_role))
        self._crowded += int(np.count_nonzero(whose.count > most))
        self._drawn_out += len(whose.image_id) - len(drawn.image_id)
        stays = ~drawable
        stays[drawn.image_id] = True
        return rows.filter(pa.array(stays))

    def _count(self, rows: pa.Table) -> None:
        counts = rows.group_by("split").aggregate(
            [("identity_id", "count_distinct"), ("identity_id", "count")]
        )
        for split, identities, images in zip(*(column.to_pylist() for column in counts.columns), strict=True):
            before = self.splits.get(split, (0, 0))
            self.splits[split] = (before[0] + identities, before[1] + images)


def paired_without(
    tables: Iterable[pa.Table], paired_I: np.ndarray, row: np.ndarray, identity_id: np.ndarray
) -> np.ndarray:
    """Which identities still have a pair, bool[I], when some rows are not kept.

    Args:
        tables: all rows. Those of identities that lose one are held in memory.
        paired_I: which have a pair with these rows.
        row, identity_id: of those that are not kept, int64[n]; rows ascend.
    """
    if not len(row):
        return paired_I
    changed = np.unique(identity_id)
    start, some = 0, []
    for rows in tables:
        columns = [name for name in ("identity_id", "group") if name in rows.column_names]
        keep = _true(rows, "keep", True).copy()
        begin, end = np.searchsorted(row, (start, start + len(rows)))
        keep[row[begin:end] - start] = False
        touched = pa.array(np.isin(rows["identity_id"].to_numpy(), changed))
        some.append(rows.select(columns).append_column("keep", pa.array(keep)).filter(touched))
        start += len(rows)
    left_I = paired_I.copy()
    left_I[changed] = with_pairs(pa.concat_tables(some), len(paired_I))[changed]
    return left_I


def _true(rows: pa.Table, name: str, absent: bool) -> np.ndarray:
    """Which rows have a true flag, bool[n]; all are `absent` where there is no such column, false where it is null."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, absent)
    return rows[name].fill_null(False).to_numpy()


def _says_anything(column: pa.ChunkedArray) -> bool:
    """Whether a value is there; an empty text is none."""
    if pa.types.is_large_string(column.type):
        column = pc.equal(column, "")
        return bool(pc.any(pc.invert(column)).as_py())
    return column.null_count < len(column)

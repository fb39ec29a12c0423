"""The keep table: which images cleaning leaves in, and why the others go. Its owner may edit it, so its content counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from ..manifest import Manifest
from ..parquet_tables import check_rows, in_one_line, metadata_of, open_parquet, refuse_false_sizes
from ..schemas import KEEP
from ..table_checks import TableCheck
from .settings import REASONS

NO_REASON = "no reason given"
MANIFEST_READ = "manifest"
"""Key in the metadata of a keep table: the fingerprint of the manifest that it numbers the images of."""


@dataclass(frozen=True)
class LeftOut:
    """Images of a manifest that a keep table leaves out.

    >>> LeftOut(Path("keep.parquet"), np.array([3, 8]), {"outlier": 2}, "5e1f").words
    '; 2 images left out by keep.parquet (2 outlier)'
    """

    path: Path
    image_id: np.ndarray
    """int64[n], ascending."""
    reasons: Mapping[str, int]
    """How many for each."""
    fingerprint: str
    """What is left out, as a hash; empty where no table is named."""

    @property
    def fields(self) -> dict[str, str]:
        """What a stage depends on: the images that are left out, wherever the table lies."""
        return {"data.cleaned": self.fingerprint} if self.fingerprint else {}

    @property
    def words(self) -> str:
        """The end of a line that says what a stage will do; empty where no table is named."""
        if not self.fingerprint:
            return ""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items())
        images = f"{len(self.image_id):,} image{'s' * (len(self.image_id) != 1)}"
        return f"; {images} left out by {self.path.name}" + (f" ({reasons})" if reasons else "")


NOTHING = LeftOut(Path(), np.empty(0, np.int64), {}, "")
"""No table is named."""


def table_to_keep(
    image_id: np.ndarray, identity_id: np.ndarray, kept: np.ndarray, reason: np.ndarray
) -> pa.Table:
    """A table of kind KEEP.

    Args:
        image_id: int64[n], ascending.
        kept: bool[n].
        reason: str[n]; only that of an image which is not kept is written.
    """
    return pa.table(
        {
            "image_id": pa.array(image_id, pa.int64()),
            "identity_id": pa.array(identity_id, pa.int32()),
            "keep": pa.array(kept),
            "reason": pa.array(reason, pa.string(), mask=kept).dictionary_encode(),
        }
    ).cast(KEEP.columns)


def read_left_out(path: Path, manifest: Manifest) -> LeftOut:
    """What a keep table leaves out of a manifest.

    Raises:
        InputError: no such table, damaged, or of another manifest. It says itself of which it is; one that another tool
            wrote anew says nothing, and is of another where an image in it has another identity there.
    """
    try:
        at = path.stat()
    except OSError as error:
        raise InputError(
            f"data.cleaned={path}: {error.strerror}; name a keep table that `subspace clean RUN` wrote, or set it to null"
        ) from error
    return _read(path, at.st_mtime_ns, at.st_size, manifest)


def _as_written(path: Path) -> pa.Table:
    """The table as `keep_table` makes it: other tools order rows anew, and have wider integers and other texts."""
    names = KEEP.columns.names
    file = open_parquet(path)
    missing = [name for name in names if file.schema_arrow.get_field_index(name) < 0]
    if missing:
        raise InputError(
            f"{path} is not a keep table: it has no column '{missing[0]}'; name one that `subspace clean RUN` wrote"
        )
    with in_one_line(path):
        for group in range(file.num_row_groups):
            refuse_false_sizes(path, file, group)
        table = file.read(columns=names).select(names)
        text = pa.schema(
            [KEEP.columns.field(name) for name in names[:-1]] + [pa.field("reason", pa.string())]
        )
        table = table.cast(text).sort_by("image_id")
        check_rows(path, TableCheck(KEEP), table)
    return table


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int, size: int, manifest: Manifest) -> LeftOut:
    """What is left out, read once for all stages of a command."""
    table = _as_written(path)
    image_id, identity_id = (table[name].to_numpy() for name in ("image_id", "identity_id"))
    if metadata_of(open_parquet(path)).get(MANIFEST_READ, manifest.fingerprint) != manifest.fingerprint:
        why = "it was ingested anew since, and its rows may be other images"
    elif image_id.max(initial=-1) >= len(manifest) or not np.array_equal(
        manifest.identity_id[image_id], identity_id
    ):
        why = "its images have other identities there"
    else:
        why = ""
    if why:
        raise InputError(
            f"data.cleaned={path} is of another manifest than {manifest.path}: {why}; "
            "clean a run of this one, or set it to null"
        )
    gone = table.filter(pc.call_function("invert", [table["keep"]]))
    image_id = gone["image_id"].to_numpy()
    said = gone["reason"].cast(pa.string()).fill_null(NO_REASON).value_counts().to_pylist()
    known = [*REASONS, "too_few"]
    counts = {one["values"]: one["counts"] for one in said}
    ordered = sorted(counts, key=lambda name: (known.index(name) if name in known else len(known), name))
    return LeftOut(
        path,
        image_id,
        {name: counts[name] for name in ordered},
        hashlib.blake2b(image_id.tobytes(), digest_size=16).hexdigest(),
    )

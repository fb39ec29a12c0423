"""Damaged Parquet tables of a finished run and damaged manifests: what is done to each, which command meets it, what it says.

The markers of the run that they are tried on have no checksums, so that it is the readers that must notice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class Case(NamedTuple):
    """One damage."""

    name: str
    file: str
    """Relative to the run; MANIFEST: the manifest."""
    damage: Callable[[Path], None]
    command: tuple[str, ...]
    """RUN, FILE and MANIFEST stand for paths."""
    code: int
    line: str
    """A piece of the line that the command says."""


def rewritten(change: Callable[[pa.Table], pa.Table], **how: Any) -> Callable[[Path], None]:
    """The same file with other rows."""

    def damage(path: Path) -> None:
        with pq.ParquetFile(path) as file:
            table, metadata = file.read(), file.metadata.metadata
        kept = {key: value for key, value in metadata.items() if key != b"ARROW:schema"}
        pq.write_table(change(table).replace_schema_metadata(kept), path, **how)

    return damage


def column(name: str, change: Callable[[list[Any]], list[Any]], kind: pa.DataType | None = None):
    """Another content of one column."""

    def changed(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        values = pa.array(change(table[name].to_pylist()), kind or table.schema.field(name).type)
        return table.set_column(place, name, values)

    return rewritten(changed)


def at(row: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    """Another value in one row."""
    return lambda values: [value if number == row else old for number, old in enumerate(values)]


def each(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    """Another value in every row."""
    return lambda values: [change(value) for value in values]


def written(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Other bytes."""
    return lambda path: void(path.write_bytes(change(path.read_bytes())))


def void(_: Any) -> None:
    """Nothing of it is wanted."""


def to_folder(path: Path) -> None:
    """A folder of that name."""
    path.unlink()
    path.mkdir()


def beside(name: str) -> Callable[[Path], None]:
    """The file of another table."""
    return lambda path: void(shutil.copyfile(path.parent / name, path))


def without(name: str) -> Callable[[Path], None]:
    """One column less."""
    return rewritten(lambda table: table.drop([name]))


def vector(factor: float, at_row: int = 5) -> Callable[[list[Any]], list[Any]]:
    """The vector of one row times a number."""
    return lambda rows: [
        [factor * value for value in row] if number == at_row else row for number, row in enumerate(rows)
    ]


def narrower(name: str) -> Callable[[Path], None]:
    """Vectors of half as many numbers, of unit length again."""

    def changed(table: pa.Table) -> pa.Table:
        rows = np.array(table[name].to_pylist(), np.float32)
        rows = rows[:, : rows.shape[1] // 2]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        return table.set_column(table.schema.get_field_index(name), name, values)

    return rewritten(changed)


def unfingerprinted(path: Path) -> None:
    """No word of who wrote it."""
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def of_version(version: str) -> Callable[[Path], None]:
    """Of another version of the schema."""

    def damage(path: Path) -> None:
        metadata = {"fingerprint": "f" * 32, "kind": "manifest", "schema_version": version}
        pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)

    return damage


BYTES: dict[str, tuple[Callable[[Path], None], str]] = {
    "of no bytes": (written(lambda data: b""), "is not a readable Parquet file"),
    "cut in half": (written(lambda data: data[: len(data) // 2]), "is not a readable Parquet file"),
    "without its last byte": (written(lambda data: data[:-1]), "is not a readable Parquet file"),
    "with a footer of 2 GiB": (written(lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"), "is not a readable"),
    "with zeros for a footer": (
        written(lambda data: data[: -8 - (size := int.from_bytes(data[-8:-4], "little"))] + bytes(size) + data[-8:]),
        "FILE",
    ),
    "with zeros for pages": (written(lambda data: data[:4] + bytes(200) + data[204:]), "is damaged"),
    "of text": (written(lambda data: b"a,b\n1,2\n"), "is not a readable Parquet file"),
    "gone": (Path.unlink, "FILE"),
    "a folder": (to_folder, "FILE"),
}  # fmt: skip
"""Damages that any table may meet."""

IDENTITIES, SUBSPACES = "round-000/identities.parquet", "round-000/subspaces.parquet"
CENTROIDS, QUARANTINE = "round-000/centroids.parquet", "round-000/quarantine.parquet"
DUPLICATES, PLAN = "round-000/duplicates.parquet", "round-000/plan/part-00000.parquet"
CLUSTER, DRAW, TRAIN = ((name, "RUN", "--round", "0") for name in ("cluster", "plan", "train"))
INSPECT = ("inspect", "FILE")
LIST = ("extract", "RUN", "--round", "0", "--dry-run", "manifest=MANIFEST")
REMADE = {
    IDENTITIES: "subspace extract RUN --round 0 --force",
    SUBSPACES: "subspace cluster RUN --round 0 --force",
    CENTROIDS: "subspace cluster RUN --round 0 --force",
    DUPLICATES: "subspace cluster RUN --round 0 --force",
    QUARANTINE: "subspace extract RUN --round 0 --force",
    PLAN: "subspace plan RUN --round 0 --force",
}
"""The command that the line names."""


def _cases(file: str, command: tuple[str, ...], code: int, cases: dict[str, tuple[Any, str]]) -> list[Case]:
    table = "manifest" if file == "MANIFEST" else file.split("/")[1].removesuffix(".parquet")
    return [
        Case(f"{table} {name}", file, damage, command, code, line) for name, (damage, line) in cases.items()
    ]


def _swap(values: list[Any]) -> list[Any]:
    return [values[1], values[0], *values[2:]]


CASES: tuple[Case, ...] = (
    *_cases(IDENTITIES, CLUSTER, 3, {name: case for name, case in BYTES.items() if name not in ("gone", "a folder")}),
    *_cases(SUBSPACES, DRAW, 3, {name: case for name, case in BYTES.items() if name not in ("gone", "a folder")}),
    *_cases(PLAN, TRAIN, 3, {name: case for name, case in BYTES.items() if name not in ("gone", "a folder")}),
    *_cases("MANIFEST", LIST, 2, BYTES),
    *_cases(
        IDENTITIES,
        CLUSTER,
        3,
        {
            "with an empty mean": (column("mean", at(5, None)), "is damaged"),
            "with an empty id": (column("identity_id", at(5, None)), "empty value in column 'identity_id' (row 5)"),
            "with a negative id": (column("identity_id", at(0, -3)), "-3 in column 'identity_id'"),
            "out of order": (column("identity_id", _swap), "in column 'identity_id', which ascends (row 1)"),
            "with an id twice": (column("identity_id", lambda ids: [ids[1], *ids[1:]]), "which ascends (row 1)"),
            "with a mean of no images": (column("images", at(5, 0)), "0 in column 'images'"),
            "with a mean of -2 images": (column("images", at(5, -2)), "-2 in column 'images'"),
            "with a NaN": (column("mean", vector(np.nan)), "a NaN or an infinite number in column 'mean' (row 5)"),
            "with an infinite mean": (column("mean", vector(np.inf)), "infinite number in column 'mean' (row 5)"),
            "with a mean of length 2": (column("mean", vector(2)), "length 2, not 1, in column 'mean' (row 5)"),
            "with a huge mean": (column("mean", vector(1e30)), "column 'mean' (row 5)"),
            "with means as lists": (
                column("mean", each(lambda row: row), pa.list_(pa.float32())),
                "column 'mean'",
            ),
            "with a spread of 3": (column("spread", at(5, 3.0)), "3 in column 'spread', which holds 0 to 2 (row 5)"),
            "with a spread of NaN": (column("spread", at(5, np.nan)), "nan in column 'spread'"),
            "without spreads": (without("spread"), "has no column 'spread'"),
            "that are subspaces": (beside("subspaces.parquet"), "has no column 'mean'"),
            "of no rows": (rewritten(lambda table: table.slice(0, 0)), "FILE"),
        },
    ),
    *_cases(
        SUBSPACES,
        DRAW,
        3,
        {
            "of fewer rows": (rewritten(lambda table: table.slice(0, 40)), "its 40 identities are not the 48"),
            "of more rows": (
                rewritten(
                    lambda table: pa.concat_tables(
                        [table, table.slice(47).set_column(0, "identity_id", pa.array([900], pa.int32()))]
                    )
                ),
                "its 49 identities are not the 48",
            ),
            "of other identities": (column("identity_id", lambda ids: [*ids[:-1], 900]), "are not the 48 of"),
            "out of order": (column("identity_id", _swap), "which ascends (row 1)"),
            "with a negative subspace": (column("subspace_id", at(5, -1)), "-1 in column 'subspace_id'"),
            "with an empty subspace": (column("subspace_id", at(5, None)), "empty value in column 'subspace_id'"),
            "with one beyond the centroids": (column("subspace_id", at(5, 40)), "centroids, and a subspace 40"),
            "with a huge subspace": (column("subspace_id", at(5, 2**31 - 1)), "holds 0 to 47 (row 5)"),
            "of 64 bits": (column("subspace_id", each(int), pa.int64()), "'subspace_id' of int64, not of int32"),
            "with a second subspace of -7": (
                rewritten(
                    lambda table: table.append_column("second_subspace_id", pa.array([-7] * 48, pa.int32()))
                ),
                "-7 in column 'second_subspace_id'",
            ),
        },
    ),
    *_cases(
        SUBSPACES,
        INSPECT,
        3,
        {
            "with a cosine of 3": (column("similarity", at(5, 3.0)), "3 in column 'similarity', which holds -1 to 1"),
            "with a cosine of NaN": (column("similarity", at(5, np.nan)), "nan in column 'similarity'"),
            "all empty": (column("subspace_id", each(lambda _: None)), "empty value in column 'subspace_id' (row 0)"),
        },
    ),
    *_cases(
        CENTROIDS,
        DRAW,
        3,
        {
            "of fewer rows": (rewritten(lambda table: table.slice(0, 2)), "2 centroids, and a subspace 3"),
            "of another width": (narrower("centroid"), "numbers, and means of"),
        },
    ),
    *_cases(
        CENTROIDS,
        INSPECT,
        3,
        {
            "with a NaN": (column("centroid", vector(np.nan, 1)), "infinite number in column 'centroid' (row 1)"),
            "with a negative size": (column("size", at(1, -4)), "-4 in column 'size'"),
            "with an empty size": (column("size", at(1, None)), "empty value in column 'size' (row 1)"),
        },
    ),
    *_cases(
        QUARANTINE,
        DRAW,
        3,
        {
            "beyond the manifest": (
                rewritten(lambda table: _row_of_quarantine(table, 10**6)),
                "has image 1,000,000, and the manifest has 0 to",
            ),
            "before the manifest": (rewritten(lambda table: _row_of_quarantine(table, -1)), "it has image -1"),
            "of no image": (rewritten(lambda table: _row_of_quarantine(table, None)), "empty value in column 'image_id'"),
            "gone": (Path.unlink, "does not exist"),
        },
    ),
    *_cases(
        DUPLICATES,
        INSPECT,
        3,
        {
            "with a cosine of -2": (column("similarity", at(0, -2.0)), "-2 in column 'similarity'"),
            "with an empty id": (column("identity_id_a", at(0, None)), "empty value in column 'identity_id_a'"),
            "of no images": (column("images_b", at(0, -1)), "-1 in column 'images_b'"),
            "all empty": (column("expected", each(lambda _: None)), "empty value in column 'expected' (row 0)"),
        },
    ),
    *_cases(
        PLAN,
        TRAIN,
        3,
        {
            "ragged": (column("identity_ids", at(3, [1, 2])), "lists of 8 and of 2 in column 'identity_ids' (row 3)"),
            "of ragged images": (column("image_ids", at(3, [1])), "lists of 16 and of 1 in column 'image_ids' (row 3)"),
            "of no identities": (column("identity_ids", each(lambda _: [])), "in column 'identity_ids'"),
            "with an empty batch": (column("image_ids", at(3, None)), "empty value in column 'image_ids' (row 3)"),
            "with an empty id": (
                column("image_ids", each(lambda ids: [None, *ids[1:]])),
                "empty value in a list of column 'image_ids'",
            ),
            "with a negative image": (column("image_ids", each(lambda ids: [-1, *ids[1:]])), "-1 in a list of"),
            "with an image that is not there": (
                column("image_ids", each(lambda ids: [*ids[:-1], 10**9])),
                "1000000000 in column 'image_ids', and the manifest ends at",
            ),
            "with an identity that is not there": (
                column("identity_ids", each(lambda ids: [*ids[:-1], 10**6])),
                "1000000 in column 'identity_ids', and the manifest ends at",
            ),
            "of 15 images by 8": (column("image_ids", each(lambda ids: ids[:15])), "8 identities and 15 images"),
            "from step 5 on": (column("step", lambda steps: [step + 5 for step in steps]), "step 5 where step 0"),
            "with a step twice": (column("step", at(3, 2)), "in column 'step', which counts 0, 1, 2, ... (row 3)"),
            "cut to 5 batches": (rewritten(lambda table: table.slice(0, 5)), "5 batches, and it was written with 8"),
            "of no rows": (rewritten(lambda table: table.slice(0, 0)), "0 batches"),
            "of two shapes": (lambda path: _in_two_shapes(path), "in a plan of 8 and 16"),
            "that is something else": (without("image_ids"), "has no column 'image_ids'"),
            "all empty": (column("image_ids", each(lambda _: None)), "empty value in column 'image_ids' (row 0)"),
        },
    ),
    *_cases(
        "MANIFEST",
        LIST,
        2,
        {
            "out of order": (column("identity_id", lambda ids: [*ids[1:], 0]), "is not sorted by identity"),
            "with a gap": (
                column("identity_id", lambda ids: [i + (i > 3) for i in ids]),
                "has 5 after 3 in column 'identity_id', which counts up from 0",
            ),
            "that begins at 7": (column("identity_id", each(lambda i: i + 7)), "has 7 as its first in column"),
            "with an empty name": (column("identity", at(5, None)), "empty value in column 'identity' (row 5)"),
            "with an empty split": (column("split", at(5, None)), "empty value in column 'split' (row 5)"),
            "with an empty keep": (column("keep", at(5, None)), "empty value in column 'keep' (row 5)"),
            "with a negative offset": (column("offset", at(5, -8)), "-8 in column 'offset'"),
            "with a negative length": (column("length", at(5, -8)), "-8 in column 'length'"),
            "of no rows": (rewritten(lambda table: table.slice(0, 0)), "holds no images"),
            "of text ids": (column("identity_id", each(str), pa.string()), "of string, not of int32"),
            "without splits": (without("split"), "has no column 'split'"),
        },
    ),
    Case("manifest of nobody", "MANIFEST", unfingerprinted, LIST, 3, "carries no fingerprint"),
    Case("manifest of a later version", "MANIFEST", of_version("9"), LIST, 3, "has schema version '9'"),
    Case("manifest of version -1", "MANIFEST", of_version("-1"), LIST, 3, "has schema version '-1'"),
)  # fmt: skip


def _row_of_quarantine(table: pa.Table, image_id: int | None) -> pa.Table:
    row = {"image_id": [image_id], "identity": ["x"], "uri": [None], "reason": ["cut short"]}
    return pa.table({name: pa.array(values, table.schema.field(name).type) for name, values in row.items()})


def _in_two_shapes(path: Path) -> None:
    """Batches of half the size from the second row group on."""
    with pq.ParquetFile(path) as file:
        table, metadata = file.read(), file.metadata.metadata
    rows = table.to_pylist()
    for row in rows[4:]:
        row["identity_ids"], row["image_ids"] = row["identity_ids"][:4], row["image_ids"][:8]
    kept = {key: value for key, value in metadata.items() if key != b"ARROW:schema"}
    pq.write_table(
        pa.Table.from_pylist(rows, table.schema).replace_schema_metadata(kept), path, row_group_size=4
    )

"""What the rows of each kind of table may hold: no gaps, values in range, ids in order, vectors of unit length.

A check goes through a table a block of rows at a time and costs a pass over the columns that were read anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .schemas import TableKind, is_vector

ROUNDING = 1e-3
"""How far a cosine may be beyond 1 and the length of a unit vector from it; embeddings come in bfloat16, too."""


class Rule(NamedTuple):
    """What a column may hold."""

    low: float
    high: float | None = None
    """None: as much as its type holds."""
    order: Literal["any", "ascending", "dense", "consecutive"] = "any"
    """Ascending: each larger than the one before. Dense: equal to it, or one more. Consecutive: one more."""


_ID, _COSINE = Rule(0), Rule(-1 - ROUNDING, 1 + ROUNDING)
RULES: dict[str, dict[str, Rule]] = {
    "manifest": {"identity_id": Rule(0, order="dense"), "offset": _ID, "length": _ID},
    "identities": {
        "identity_id": Rule(0, order="ascending"),
        "images": Rule(1),
        "spread": Rule(-ROUNDING, 2 + ROUNDING),
    },
    "embeddings": {"image_id": _ID, "identity_id": _ID},
    "quarantine": {"image_id": Rule(-1)},  # -1: ingest has left it out, so it has no row in the manifest
    "subspaces": {
        "identity_id": Rule(0, order="ascending"),
        "subspace_id": _ID,
        "similarity": _COSINE,
        "second_subspace_id": _ID,
    },
    "centroids": {"subspace_id": Rule(0, order="consecutive"), "size": _ID},
    "duplicates": {
        **{f"{name}_{side}": _ID for name in ("identity_id", "images") for side in "ab"},
        "similarity": _COSINE,
        "expected": _COSINE,
    },
    "plan": {"step": Rule(0, order="consecutive"), "subspace_id": Rule(-1)},
    "image_embeddings": {},
    "keep": {"image_id": Rule(0, order="ascending"), "identity_id": _ID},
    "suspects": {
        "score": _COSINE,
        **{f"{side}{name}_id": _ID for name in ("identity", "image") for side in ("", "other_")},
    },
    "mistakes": {
        **{
            f"{side}_id": _ID
            for side in ("image", "identity", "right_image", "wrong_image", "wrong_identity")
        },
        **{f"{side}_similarity": _COSINE for side in ("right", "wrong")},
    },
    "indexed_images": {"identity_id": Rule(0, order="dense")},
    "indexed_identities": {"identity_id": Rule(0, order="consecutive"), "images": Rule(1)},
    "embedding_rows": {"row": Rule(0, order="consecutive")},
}
"""Rules by kind of table and column."""
BEGINS_AT_0 = ("dense", "consecutive")


class TableCheck:
    """Goes through the rows of one table of a kind, block after block.

    Args:
        whole: the blocks are all of the table, from its first row; else any part of it.
        unit: its vectors have unit length, whatever its kind.

    >>> from .schemas import QUARANTINE
    >>> TableCheck(QUARANTINE).problem_in(pa.table({"image_id": pa.array([3, -2])}))
    "has -2 in column 'image_id', which holds -1 or more (row 1)"
    """

    def __init__(self, kind: TableKind, *, whole: bool = True, unit: bool = False) -> None:
        self.kind, self.whole, self.row = kind, whole, 0
        self._unit = unit
        self._last: dict[str, int] = {}
        self._width: int | None = None

    def problem_in(self, rows: pa.Table) -> str | None:
        """What is wrong with the next rows, in words that follow the name of the file; None: nothing."""
        found = next(
            (problem for name in rows.column_names if (problem := self._column(name, rows[name]))), None
        )
        self.row += len(rows)
        return found

    def _column(self, name: str, column: pa.ChunkedArray) -> str | None:
        if (
            self.kind.columns.get_field_index(name) >= 0
            and name not in self.kind.nullable
            and column.null_count
        ):
            return f"has an empty value in column '{name}' ({self._first(column, _nulls)})"
        if (rule := RULES[self.kind.name].get(name)) is not None:
            if self.whole and (self.kind.name, name) == ("subspaces", "subspace_id"):
                rule = rule._replace(high=len(column) - 1)  # no more subspaces than identities
            return self._outside(name, column, rule) or self._out_of_order(name, column, rule)
        if is_vector(column.type):
            return self._ragged_vectors(name, column) or self._not_unit(name, column)
        if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
            return _not_text(name, column)
        return _ragged(name, column, self.row) if pa.types.is_list(column.type) else None

    def _outside(self, name: str, column: pa.ChunkedArray, rule: Rule) -> str | None:
        bounds = pc.call_function("min_max", [column])
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        if low is None:
            return None
        floating = pa.types.is_floating(column.type)
        inside = low >= rule.low and (rule.high is None or high <= rule.high)
        if inside and not (
            floating and pc.call_function("any", [pc.call_function("is_nan", [column])]).as_py()
        ):
            return None

        def wrong(chunk: pa.Array) -> np.ndarray:
            values = chunk.drop_null().to_numpy()
            outside = ~(values >= rule.low) | (values > (rule.high if rule.high is not None else np.inf))
            flags = np.zeros(len(chunk), bool)
            flags[chunk.is_valid().to_numpy(zero_copy_only=False)] = outside
            return flags

        at = self._first(column, wrong)
        value = column[int(at.removeprefix("row ")) - self.row].as_py()
        held = f"{rule.low:g} or more" if rule.high is None else f"{round(rule.low)} to {round(rule.high)}"
        return (
            f"has {value:.6g} in column '{name}', which holds {held} ({at})"
            if floating
            else (f"has {value} in column '{name}', which holds {held} ({at})")
        )

    def _out_of_order(self, name: str, column: pa.ChunkedArray, rule: Rule) -> str | None:
        if rule.order == "any" or not len(column):
            return None
        values = column.to_numpy().astype(np.int64)
        before = self._last.get(name)
        if before is None:
            begins = rule.order in BEGINS_AT_0 and self.whole
            before = -1 if begins else int(values[0]) - (rule.order != "dense")
        self._last[name] = int(values[-1])
        steps = np.diff(values, prepend=before)
        most = {"ascending": np.inf, "dense": 1, "consecutive": 1}[rule.order]
        wrong = (steps < (rule.order != "dense")) | (steps > most)
        if not wrong.any():
            return None
        at = int(np.argmax(wrong))
        if self.kind.name == "manifest" and steps[at] < 0:
            return f"is not sorted by identity (row {self.row + at})"
        after = "as its first" if at == 0 and self.row == 0 else f"after {int(values[at] - steps[at])}"
        held = {"ascending": "ascends", "dense": "counts up from 0", "consecutive": "counts 0, 1, 2, ..."}
        return f"has {int(values[at])} {after} in column '{name}', which {held[rule.order]} (row {self.row + at})"

    def _not_unit(self, name: str, column: pa.ChunkedArray) -> str | None:
        """What is wrong with vectors; centroids and embeddings need no unit length."""
        row = self.row
        for chunk in column.chunks:
            vectors = (
                chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1 if len(chunk) else 1)
            )
            if vectors.dtype == np.float16:  # too narrow for sums of squares
                vectors = vectors.astype(np.float32)
            squares = np.einsum("nd,nd->n", vectors, vectors)
            if not np.isfinite(squares).all():
                return f"has a NaN or an infinite number in column '{name}' (row {row + int(np.argmin(np.isfinite(squares)))})"
            if self.kind.name == "image_embeddings" and not squares.all():
                return f"has a vector of length 0, which has no direction, in column '{name}' (row {row + int(np.argmin(squares))})"
            # zero: the images of an identity cancel out
            wrong = (np.abs(np.sqrt(squares) - 1) > ROUNDING) & (squares > 0)
            if (name == "mean" or self._unit) and wrong.any():
                at = int(np.argmax(wrong))
                return f"has a vector of length {np.sqrt(squares[at]):.6g}, not 1, in column '{name}' (row {row + at})"
            row += len(chunk)
        return None

    def _ragged_vectors(self, name: str, column: pa.ChunkedArray) -> str | None:
        """What is wrong with vectors of a column whose type gives no length: they have several, or none."""
        if pa.types.is_fixed_size_list(column.type):
            return None
        row = self.row
        for chunk in column.chunks:
            lengths = np.diff(chunk.offsets.to_numpy())
            if len(lengths):
                self._width = self._width or int(lengths[0])
                wrong = (lengths != self._width) | (lengths == 0)
                if wrong.any():
                    at = int(np.argmax(wrong))
                    return f"has vectors of {self._width} and of {lengths[at]} numbers in column '{name}' (row {row + at})"
            row += len(chunk)
        return None

    def _first(self, column: pa.ChunkedArray, wrong: Callable[[pa.Array], np.ndarray]) -> str:
        """`row 17`: the first that is `wrong`."""
        row = self.row
        for chunk in column.chunks:
            flags = wrong(chunk)
            if flags.any():
                return f"row {row + int(np.argmax(flags))}"
            row += len(chunk)
        raise AssertionError("something is wrong in no row")


def _nulls(chunk: pa.Array) -> np.ndarray:
    return chunk.is_null().to_numpy(zero_copy_only=False)


def _not_text(name: str, column: pa.ChunkedArray) -> str | None:
    """What is wrong with text: bytes that are no UTF-8, or places beyond a dictionary."""
    try:
        column.validate(full=True)
    except pa.ArrowException as error:
        return f"has no text in column '{name}': {str(error).splitlines()[0]}"
    return None


def _ragged(name: str, column: pa.ChunkedArray, row: int) -> str | None:
    """What is wrong with rows of lists, which are all of one length and hold ids."""
    wanted = None
    for chunk in column.chunks:
        lengths = np.diff(chunk.offsets.to_numpy())
        if len(lengths):
            wanted = int(lengths[0]) if wanted is None else wanted
            if (lengths != wanted).any() or not wanted:
                at = int(np.argmax((lengths != wanted) | (lengths == 0)))
                return f"has lists of {wanted} and of {lengths[at]} in column '{name}' (row {row + at})"
        values = chunk.flatten()
        if values.null_count:
            at = int(np.argmax(_nulls(values))) // wanted if wanted else 0
            return f"has an empty value in a list of column '{name}' (row {row + at})"
        low = pc.call_function("min", [values]).as_py()
        if low is not None and low < 0:
            at = int(np.argmax(values.to_numpy() < 0)) // (wanted or 1)
            return f"has {low} in a list of column '{name}', which holds 0 or more (row {row + at})"
        row += len(chunk)
    return None

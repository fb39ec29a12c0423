"""The tables of a file, a folder or a run, by the names that a query calls them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...mining.errors import InputError
from ...mining.parquet_tables import open_parquet
from ...mining.planning.plan_table import plan_parts
from ...mining.schemas import kind_of
from ...train.monitoring.metrics_file import read_metrics
from .. import stage_folder as files
from ..records.examination import read_examination
from ..run_directory import RunDirectory

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

THIS = "this"
"""The file that was named."""
FIGURES = pa.schema(
    [("metric", pa.string()), *((name, pa.float64()) for name in ("value", "low", "high", "threshold"))]
)
"""Columns of a validation.json or evaluation.json."""

Tables = dict[str, "Dataset | pa.Table"]


def tables_of(path: Path, manifest: Path | None = None) -> Tables:
    """The tables at a path.

    A file is `this`, and has its kind and its name as names; the tables of a folder go by their own names; those of a run
    are `manifest`, `start_validation`, `round_0_plan` and so on.

    Args:
        manifest: that of the run, where `path` is one.

    Raises:
        InputError: there is nothing, or no table, or a damaged one.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_file():
        return _tables_of_file(path)
    if (parts := plan_parts(path)) and all(_is_plan(part) for part in parts):
        table = _table(parts)
        return {THIS: table, files.PLAN: table}
    run = RunDirectory(path)
    found = _tables_in(path, "")
    if manifest is not None:
        if manifest.is_file():
            found["manifest"] = _table([manifest])
        for index in (-1, *run.rounds):
            prefix = f"round_{index}_" if index >= 0 else "start_"
            found |= _tables_in(run.round(index).path, prefix)
    if not found:
        raise InputError(f"{path} holds no table; name a run, a round of it, or a file that is a table")
    return found


def _tables_of_file(path: Path) -> Tables:
    if path.name in _READERS:
        table: Any = _READERS[path.name](path)
        return {THIS: table, _as_name(path.stem): table}
    if path.suffix in (".json", ".jsonl", ".yaml", ".safetensors"):
        raise InputError(
            f"{path} is no table: --sql reads Parquet, {files.METRICS}, {files.VALIDATION} and {files.EVALUATION}"
        )
    table = _table([path])
    kind = kind_of(open_parquet(path).schema_arrow)
    return {THIS: table, _as_name(path.stem): table} | ({kind.name: table} if kind else {})


def _tables_in(folder: Path, prefix: str) -> Tables:
    """The tables that lie in a folder of a run, the plan's too."""
    found: Tables = {}
    if not folder.is_dir():
        return found
    for file in sorted(folder.glob("[!.]*.parquet")):
        name = prefix + _as_name(file.stem)
        if name in found:
            raise InputError(
                f"{folder} has two files that a query would call {name}, {file.name} among them; rename one"
            )
        found[name] = _table([file])
    if parts := plan_parts(folder / files.PLAN):
        found[prefix + files.PLAN] = _table(parts)
    for name, read in _READERS.items():
        if (folder / name).is_file():
            found[prefix + _as_name(Path(name).stem)] = read(folder / name)
    return found


def _is_plan(path: Path) -> bool:
    kind = kind_of(open_parquet(path).schema_arrow)
    return kind is not None and kind.name == "plan"


def _table(paths: Sequence[Path]) -> Dataset:
    """Parquet files as one table that is read where a query asks for it, in types that DuckDB has."""
    from pyarrow.dataset import dataset

    for path in paths:
        open_parquet(path)  # damage is said in our words
    schema = open_parquet(paths[0]).schema_arrow
    plain = pa.schema([(field.name, _plain(field.type)) for field in schema])
    return dataset([str(path) for path in paths], schema=plain, format="parquet")


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type that DuckDB reads: half floats are read as float32, words from a dictionary as words."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind


def _log(path: Path) -> pa.Table:
    lines = read_metrics(path)
    keys = dict.fromkeys(key for line in lines for key in line)
    columns = {key: pa.array([line.get(key) for line in lines], pa.float64()) for key in keys}
    if "step" in columns:
        columns["step"] = columns["step"].cast(pa.int64())
    return pa.table(columns) if columns else pa.table({"step": pa.array([], pa.int64())})


def _figures(path: Path) -> pa.Table:
    metrics = read_examination(path, "`subspace status RUN` says how it is made again")["metrics"]
    rows = [
        {"metric": name, **{key: of.get(key) for key in FIGURES.names[1:]}} for name, of in metrics.items()
    ]
    return pa.Table.from_pylist(rows, FIGURES)


_READERS = {files.METRICS: _log, files.VALIDATION: _figures, files.EVALUATION: _figures}
"""Files that are no Parquet, and what makes a table of each."""


def _as_name(stem: str) -> str:
    """The name of a file as a name that a query need not quote.

    >>> _as_name("My faces-v2"), _as_name("7.rows")
    ('my_faces_v2', '_7_rows')
    """
    name = re.sub(r"\W+", "_", stem, flags=re.ASCII).lower()
    return f"_{name}" if not name or name[0].isdigit() else name

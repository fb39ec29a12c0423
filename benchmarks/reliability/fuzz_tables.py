"""Damage small valid Parquet tables at random and read them: nothing but an error of ours may come of it.

    python benchmarks/reliability/fuzz_tables.py --executions 100000

Half of the executions change bytes (anywhere, or in the footer alone), the others rows and columns. Each kind of table is read in a child
process with a limit on its memory and on the time of each read; a child that dies, or raises anything else, is a finding,
whose file is kept.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from subspace.mining.clustering.mean_table import MeanTable
from subspace.mining.embedding_table import EmbeddingTable
from subspace.mining.errors import InputError, StaleArtifactError
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import read_parquet, write_parquet
from subspace.mining.schemas import (
    CENTROIDS,
    DUPLICATES,
    EMBEDDING_ROWS,
    EMBEDDINGS,
    IDENTITIES,
    IMAGE_EMBEDDINGS,
    INDEXED_IDENTITIES,
    INDEXED_IMAGES,
    KEEP,
    KINDS,
    MANIFEST,
    MISTAKES,
    PLAN,
    QUARANTINE,
    SUBSPACES,
    SUSPECTS,
    TableKind,
    vector,
)
from subspace.pipeline.inspection.tables import summarize_table
from subspace.train.data.plan_reader import Plan

ROWS, WIDTH = 12, 4
MEMORY = 2**31
"""Bytes beyond what the child has when it begins."""
SECONDS = 10
"""Of one read."""


def valid_table(kind: TableKind) -> pa.Table:
    """A small table of a kind that every reader takes."""
    n = np.arange(ROWS)
    unit = np.zeros((ROWS, WIDTH), np.float32)
    unit[n, n % WIDTH] = 1
    names = pa.array([f"person {i}" for i in n])
    flat = {
        MANIFEST: [
            names, n, ["a.jpg"] * ROWS, [None, 5] * (ROWS // 2), [None, 7] * (ROWS // 2), ["train"] * ROWS, [True] * ROWS,
        ],
        IDENTITIES: [n, names, n + 1, None, n / 100],
        EMBEDDINGS: [n, n // 2, None],
        QUARANTINE: [n, names, [None] * ROWS, ["cut short"] * ROWS],
        SUBSPACES: [n, n % 3, n / 100],
        CENTROIDS: [n, n + 1, None],
        DUPLICATES: [n, names, n + 1, n + 1, names, n + 1, n / 100, n / 100],
        IMAGE_EMBEDDINGS: [names, None],
        EMBEDDING_ROWS: [n, names],
        KEEP: [n, n // 2, [True] * ROWS, [None, "outlier"] * (ROWS // 2)],
        SUSPECTS: [["outlier"] * ROWS, n / 100, n, names, n, n + 1, names, n + 1],
        MISTAKES: [n, n, names, n + 1, n / 100, n + 2, n + 1, names, n / 50],
        INDEXED_IMAGES: [names, n],
        INDEXED_IDENTITIES: [n, names, n + 1],
        PLAN: [n, n % 3, [[1, 2]] * ROWS, [[3, 4, 5, 6]] * ROWS],
    }  # fmt: skip
    columns, schema = [], []
    for column, values in zip(kind.columns, next(v for k, v in flat.items() if k is kind), strict=True):
        if values is None:
            value = column.type.value_type
            kept = unit.astype(np.float16 if value == pa.float16() else np.float32)
            array = pa.FixedSizeListArray.from_arrays(pa.array(kept.ravel()), type=vector(WIDTH, value))
        elif pa.types.is_dictionary(column.type):
            array = pa.array(values).dictionary_encode().cast(column.type)
        else:
            array = pa.array(values).cast(column.type)
        columns.append(array)
        schema.append(pa.field(column.name, array.type))
    return pa.Table.from_arrays(columns, schema=pa.schema(schema))


def read(kind: TableKind, path: Path) -> None:
    """Read all of a table by every reader of its kind."""
    if kind is MANIFEST:
        manifest = Manifest.open(path)
        manifest.identities_in(["train"])
    elif kind is PLAN:
        plan = Plan(path.parent, images=100, identities=100)
        for step in range(len(plan)):
            plan.identities_of(step, plan[step])
    elif kind is IDENTITIES:
        _ = MeanTable(path)[:]
    elif kind is IMAGE_EMBEDDINGS:
        EmbeddingTable.open(path).read()
    read_parquet(path, kind)


def other_bytes(data: bytes, random: np.random.Generator) -> bytes:
    """A few other bytes, anywhere or in the footer; or a piece less, or a piece twice."""
    changed = bytearray(data)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    first = footer if random.random() < 0.5 else 0
    for _ in range(random.integers(1, 9)):
        at = int(random.integers(first, len(changed)))
        bits = changed[at] ^ 1 << int(random.integers(8))
        changed[at] = [0, 1, 0x7F, 0x80, 0xFF, int(random.integers(256)), bits][random.integers(7)]
    what = random.random()
    if what < 0.05:
        return bytes(changed[: random.integers(len(changed))])
    if what < 0.1:
        at, size = (int(x) for x in random.integers(0, len(changed), 2))
        return bytes(changed[:at] + changed[max(0, at - size) :])
    return bytes(changed)


def other_rows(table: pa.Table, random: np.random.Generator, path: Path) -> None:
    """Write other values, nulls, lengths or types in a column or two."""
    for _ in range(random.integers(1, 3)):
        place = int(random.integers(table.num_columns))
        column = table.column(place)
        values: list[Any] = column.to_pylist()
        extremes = [
            None,
            0,
            -1,
            1,
            2**31 - 1,
            -(2**31),
            2**63 - 1,
            np.nan,
            np.inf,
            -np.inf,
            1e38,
            "",
            "x" * 1000,
            [],
            [1],
        ]
        for _ in range(random.integers(1, 4)):
            value = extremes[random.integers(len(extremes))]
            if isinstance(values[0], list) and random.random() < 0.7:
                value = [*values[0][: random.integers(len(values[0]) + 1)], value]
            values[random.integers(len(values))] = value
            if random.random() < 0.2:
                values = [value] * len(values)
        what = random.random()
        if what < 0.1:
            table = table.drop([table.column_names[place]])
        elif what < 0.2:
            table = table.take(pa.array(random.integers(0, len(table), random.integers(0, 2 * ROWS))))
        else:
            kept = column.type if random.random() < 0.7 else None
            try:
                table = table.set_column(place, table.column_names[place], pa.array(values, kept))
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                continue
        if not table.num_columns or not len(table):
            break
    try:
        pq.write_table(table, path, row_group_size=int(random.integers(1, 2 * ROWS)))
    except pa.ArrowException:
        pq.write_table(pa.table({"x": [1]}), path)


def fuzz(kind: TableKind, executions: int, seed: int, folder: Path) -> dict[str, int]:
    """Read so many damaged tables; return how many were refused and how many were read."""
    random, path = np.random.default_rng(seed), folder / f"{kind.name}.parquet"
    table = valid_table(kind)
    write_parquet(path, kind, table, "f" * 32)
    read(kind, path)
    data, found = path.read_bytes(), {"refused": 0, "read": 0}
    with pq.ParquetFile(path) as file:
        table = table.replace_schema_metadata(file.metadata.metadata)
    signal.signal(signal.SIGALRM, _late)
    for number in range(executions):
        if number % 2:
            other_rows(table, random, path)
        else:
            path.write_bytes(other_bytes(data, random))
        for reader in (read, _inspect) if number % 4 == 1 else (read,):
            signal.alarm(SECONDS)
            try:
                reader(kind, path)
                found["read"] += 1
            except (InputError, StaleArtifactError) as error:
                found["refused"] += 1
                if "\n" in str(error):
                    raise AssertionError(f"more than a line: {error}") from error
            finally:
                signal.alarm(0)
    return found


def _inspect(kind: TableKind, path: Path) -> None:
    summarize_table(path)


def _late(*_: object) -> None:
    raise TimeoutError(f"a read took more than {SECONDS} s")


def fuzz_in_a_child(kind: TableKind, executions: int, seed: int, kept: Path) -> str:
    """Fuzz in a process with limited memory; what it says, or how it died."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        command = [
            sys.executable,
            __file__,
            "--child",
            kind.name,
            "--executions",
            str(executions),
            "--seed",
            str(seed),
        ]
        started = time.monotonic()
        done = subprocess.run([*command, "--folder", folder], capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
        if done.returncode == 0:
            return f"{kind.name:12s} {executions:9,} {seconds:8.0f} s  {done.stdout.strip()}"
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder, f"{kind.name}.parquet"), kept / f"{kind.name}-{seed}.parquet")
        return f"{kind.name:12s} FINDING after {seconds:.0f} s, exit {done.returncode}: {done.stderr.strip()[-1500:]}"


def limit_memory() -> None:
    """Refuse this process more than it has now, and MEMORY."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(say: Callable[[str], None] = print) -> None:
    """Fuzz all kinds, or be a child that fuzzes one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executions", type=int, default=100_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path("findings"), help="folder for files that did harm")
    parser.add_argument("--kinds", nargs="*", default=[kind.name for kind in KINDS])
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path(), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    by_name = {kind.name: kind for kind in KINDS}
    if asked.child:
        limit_memory()
        found = fuzz(by_name[asked.child], asked.executions, asked.seed, asked.folder)
        say(f"{found['refused']:,} refused, {found['read']:,} read")
        return
    harm = False
    for name in asked.kinds:
        line = fuzz_in_a_child(by_name[name], asked.executions, asked.seed, asked.kept)
        say(line)
        harm = harm or "FINDING" in line
    sys.exit(harm)


if __name__ == "__main__":
    main()

"""What recipes of sets have in the end: tables written whole, old shards removed, errors and stops in one line."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from subspace.mining.artifacts import whole_file
from subspace.mining.errors import StoppedEarly, SubspaceError
from subspace.pipeline.console import Console


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file, whole or not at all."""
    with whole_file(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def remove_old_shards(out: Path, shards: list[Path]) -> None:
    """Remove what earlier builds left in `out` beside `shards`, all of one folder."""
    for old in out.glob("shards-*"):
        if old != shards[0].parent:
            shutil.rmtree(old)
    for left in shards[0].parent.glob(".*.tmp"):  # by a process that was killed
        left.unlink()


def run_to_end(run: Callable[[argparse.Namespace, Console], None], options: argparse.Namespace) -> None:
    """Build a set; an error or a stop ends the process with a line and its exit code."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of each worker: they share the cores already
    try:
        run(options, Console(quiet=options.quiet))
    except (SubspaceError, StoppedEarly) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(StoppedEarly.exit_code) from None

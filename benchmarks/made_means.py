"""Means for the parts that an extraction has not reached: those of its finished parts, drawn by seed, with noise added.

    subspace extract RUN              # stop it after some minutes; it goes on with what is missing
    python benchmarks/made_means.py RUN
    subspace extract RUN              # joins all parts; cluster, plan and train read them as an extraction's own

For time and memory of what follows, not for what a network learns: hours of embedding at ten million identities are spared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa

from subspace.mining.parquet_tables import read_parquet, write_parquet
from subspace.mining.schemas import IDENTITIES, QUARANTINE
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.extract import extract_parts

NOISE = 0.6
"""Length of what is added to a mean of length 1, on average."""


def write_missing_parts(run: Path) -> tuple[int, int]:
    """Write them into the last round of a run; return how many parts were finished and how many are made."""
    context = Context.open(run)
    parts = extract_parts(context)
    done = [part for part in range(len(parts or ())) if parts.is_finished(part)] if parts else []
    if not parts or not done:
        raise SystemExit(
            f"{run} has no finished part of an extraction; let `subspace extract {run}` make one"
        )
    tables = [read_parquet(parts.path(part), IDENTITIES) for part in done]
    flat = [table["mean"].combine_chunks().flatten().to_numpy() for table in tables]
    means = np.concatenate(flat).reshape(sum(map(len, tables)), -1)
    bad = read_parquet(parts.path(done[0], "quarantine"), QUARANTINE).slice(0, 0)
    random, missing = np.random.default_rng(0), sorted(set(range(len(parts))) - set(done))
    for part in missing:
        of = parts[part].identity_id
        noise = random.standard_normal((len(of), means.shape[1])) * NOISE / np.sqrt(means.shape[1])
        made = means[random.integers(len(means), size=len(of))] + noise
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        columns = {
            "identity_id": pa.array(of, pa.int32()),
            "identity": context.manifest.names_of(of),
            "images": pa.array(np.ones(len(of), np.int32)),
            "mean": pa.FixedSizeListArray.from_arrays(made.astype(np.float32).ravel(), means.shape[1]),
            "spread": pa.array(np.zeros(len(of), np.float32)),
        }
        write_parquet(parts.path(part, "quarantine"), QUARANTINE, bad, parts.fingerprint)
        write_parquet(
            parts.path(part), IDENTITIES, pa.table(columns).cast(tables[0].schema), parts.fingerprint
        )
    return len(done), len(missing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    finished, made = write_missing_parts(parser.parse_args().run)
    print(f"{finished:,} parts were finished, {made:,} are made of them")

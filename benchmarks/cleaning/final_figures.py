"""What cleaning before mining does to the final figures, with wrong names among the demo's training images.

python benchmarks/cleaning/final_figures.py CHECKPOINT --work DIR [--share 0.1] [--steps 300] [--seeds 2]

Every row begins with the network of CHECKPOINT, trains on batches of the default plan or on random ones with the same loss, and
is tested on the demo's test identities, whose names are right. Conditions: the names as they are; a share of the training
images under another training identity's name; the same, with what `subspace clean` drops left out; the same, with
exactly the wrong names left out. A row that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

DEMO = Path(__file__).resolve().parents[2] / "data_manifests" / "demo.parquet"
CONDITIONS = ("right names", "wrong names", "wrong names, cleaned", "wrong names, all of them left out")
PLANS = {"plan": "mixed", "random": "random"}
METRICS = ("Rank-1", "TAR@FAR=1e-4")
TRAINED_ON = ["train", "pretrain"]


def spoilt_source(share: float, seed: int, path: Path) -> None:
    """A Parquet source of the demo in which a share of the training images has another training identity's name."""
    table = pq.read_table(DEMO, columns=["identity", "uri", "image", "split", "group"])
    names, split = table["identity"].to_pylist(), table["split"].cast(pa.string())
    rows = np.flatnonzero(
        pc.call_function("is_in", [split], pc.SetLookupOptions(pa.array(TRAINED_ON))).to_numpy()
    )
    random = np.random.default_rng([seed, round(1000 * share)])
    # A name of the same split, or the identity would be in two.
    for which in TRAINED_ON:
        here = rows[np.array(split.take(pa.array(rows)).to_pylist()) == which]
        known = sorted({names[row] for row in here})
        for row in random.permutation(here)[: round(share * len(here))]:
            names[row] = known[(known.index(names[row]) + random.integers(1, len(known))) % len(known)]
    spoilt = [new != old for new, old in zip(names, table["identity"].to_pylist(), strict=True)]
    table = table.set_column(0, "identity", pa.array(names)).append_column("spoilt", pa.array(spoilt))
    pq.write_table(table, path)


def subspace(*arguments: str | Path) -> None:
    """One command; what it says goes to standard error, and a failure ends the benchmark."""
    subprocess.run(
        [sys.executable, "-m", "subspace.pipeline", *map(str, arguments)], check=True, stdout=sys.stderr
    )


def oracle(source: Path, manifest: Path, path: Path) -> None:
    """A keep table without exactly the wrong names: the source's rows in the order of the manifest."""
    from subspace.mining.cleaning.keep_table import table_to_keep
    from subspace.mining.parquet_tables import write_parquet
    from subspace.mining.schemas import KEEP

    given = pq.read_table(source, columns=["identity", "uri", "spoilt"])
    spoilt = {
        (name, uri)
        for name, uri, bad in zip(*(given[c].to_pylist() for c in given.column_names), strict=True)
        if bad
    }
    rows = pq.read_table(manifest, columns=["identity", "identity_id", "uri"])
    pairs = zip(rows["identity"].to_pylist(), rows["uri"].to_pylist(), strict=True)
    kept = np.array([pair not in spoilt for pair in pairs])
    identity_id, reason = rows["identity_id"].to_numpy(), np.full(len(kept), "wrong_name", object)
    write_parquet(path, KEEP, table_to_keep(np.arange(len(kept)), identity_id, kept, reason), "oracle")


def one_row(given: argparse.Namespace, condition: str, plan: str, seed: int) -> dict[str, float]:
    """Train and test; the metrics as shares."""
    work = given.work / f"{'right' if condition == CONDITIONS[0] else f'wrong-{given.share:g}'}-{seed}"
    run = work / f"{plan}-{CONDITIONS.index(condition)}"
    results = run / "round-000" / "evaluation.json"
    if not results.exists():
        work.mkdir(parents=True, exist_ok=True)
        source, manifest = work / "source.parquet", work / "manifest.parquet"
        if not manifest.exists():
            spoilt_source(0.0 if condition == CONDITIONS[0] else given.share, seed, source)
            subspace("ingest", source, "--out", manifest)
        settings = [
            "pretrain.steps=0", f"seed={seed}", "rounds=1", f"plan.steps={given.steps}", "plan.P=64", "plan.K=2",
            f"plan.strategy={PLANS[plan]}", "train.num_workers=0", "extract.num_workers=0", "train.trackers=[]",
            "validation.metrics=[Rank-1]", "cluster.ids_per_subspace=128", "eval.fars=[1e-4]",
            "eval.probes_per_identity=null",
        ]  # fmt: skip
        subspace(
            "init",
            run,
            "--manifest",
            manifest,
            "--model",
            f"checkpoint:{given.checkpoint.resolve()}",
            *settings,
        )
        cleaned = []
        if condition != CONDITIONS[0] and condition != CONDITIONS[1]:
            keep = work / "oracle.parquet"
            if condition == CONDITIONS[2]:
                subspace("pretrain", run)
                subspace("clean", run)
                keep = run / "round-000" / "keep.parquet"
            else:
                oracle(source, manifest, keep)
            cleaned = [f"data.cleaned={keep.resolve()}"]
        subspace("run", run, *cleaned)
    metrics = json.loads(results.read_text())["metrics"]
    return {name: metrics[name]["value"] for name in METRICS}


def main() -> None:
    """Print a row for each condition and plan: means over the seeds, and the plan's lead."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    rows = {
        (condition, plan, seed): one_row(given, condition, plan, seed)
        for seed in range(given.seeds)
        for condition in CONDITIONS
        for plan in PLANS
    }
    print(f"| condition | batches | seeds | {' | '.join(METRICS)} |\n|---|---|---|{'---|' * len(METRICS)}")
    for condition in CONDITIONS:
        for plan in PLANS:
            of_seeds = [rows[condition, plan, seed] for seed in range(given.seeds)]
            cells = " | ".join(
                f"{100 * np.mean([row[name] for row in of_seeds]):.1f}"
                + (
                    f" ± {100 * np.std([row[name] for row in of_seeds], ddof=1):.1f}"
                    if given.seeds > 1
                    else ""
                )
                for name in METRICS
            )
            print(f"| {condition} | {plan} | {given.seeds} | {cells} |")


if __name__ == "__main__":
    main()

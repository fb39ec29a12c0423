"""Cost of a training step against the number of identities: batch OHNM on planned batches beside losses with classes.

The identities are synthetic, their pixels those of the demo's glyphs, in turn, out of one file. Manifest and plan are
real files, the plan drawn by the planner from random subspaces; the network is the small one; the loop, its loader (one
process) and the optimiser are those of `subspace train`. Each measurement has a process of its own, the sizes in an
order that turns round by round; ratios are of the same round. A slow case ends after 20 s of timed steps, and all but
batch OHNM are measured in the first round only. Memory is the training process's peak (VmHWM), and how much of it came
after the imports and the network.

    taskset -c 2,3 python benchmarks/bench_identities.py --plot docs/identities.png
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One thread beside the loader's: step times do not depend on which of two cores the loader takes.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from subspace.mining import IdentityImages, Manifest, PlanConfig, plan_batches, write_plan
from subspace.mining.parquet_tables import parquet_writer
from subspace.mining.schemas import MANIFEST
from subspace.train.data.batches import DecodedBatches, load_batches
from subspace.train.data.image_index import training_images
from subspace.train.data.images import ImageStore
from subspace.train.data.plan_reader import Plan
from subspace.train.loop import train_steps
from subspace.train.losses.building import TrainingSet, build_loss
from subspace.train.networks.building import build_backbone
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import TrainingState

DEMO = Path(__file__).resolve().parent.parent / "data_manifests" / "demo.parquet"
P, K, IMAGES, IDS_PER_SUBSPACE = 40, 4, 3, 10_000
WARM_UP, TIMED, AT_MOST, AT_LEAST = 20, 60, 20.0, 5
"""Steps, and after how many seconds and timed steps a slow case ends."""
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
SGD = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0}
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "batch_ohnm": ("batch_ohnm", {}, 10_000_000),
    "batch_ohnm, manifest in memory": ("batch_ohnm", {}, 10_000_000),
    "xbm:batch_ohnm": ("xbm:batch_ohnm", {"xbm": {"warmup_steps": 0}}, 10_000_000),
    "partial_fc, sparse": ("partial_fc", {"partial_fc": {"share": 0.1, "sparse_gradient": True}}, 1_000_000),
    "partial_fc, dense": ("partial_fc", {"partial_fc": {"share": 0.1}}, 1_000_000),
    "softmax": ("softmax", {}, 1_000_000),
}
"""Loss, its settings, and the most identities that it is tried with."""


Results = dict[tuple[str, int], list[dict[str, float]]]


def prepare(folder: Path, identities: int) -> None:
    """Write images, manifest and plan."""
    folder.mkdir(parents=True)
    glyphs = pq.read_table(DEMO, columns=["image"])["image"].to_pylist()
    (folder / "glyphs.pack").write_bytes(b"".join(glyphs))
    length = np.fromiter(map(len, glyphs), np.int64)
    start = np.cumsum(length) - length
    images = identities * IMAGES
    schema = pa.schema(list(MANIFEST.columns))
    with parquet_writer(folder / "manifest.parquet", MANIFEST, schema, f"synthetic {identities}") as writer:
        for first in range(0, images, 65_536):
            image_id = np.arange(first, min(first + 65_536, images))
            identity_id, glyph = (image_id // IMAGES).astype(np.int32), image_id % len(glyphs)
            same = np.zeros(len(image_id), np.int32)
            columns = {
                "identity": pa.array(np.char.mod("id%08d", identity_id)),
                "identity_id": pa.array(identity_id),
                "uri": pa.DictionaryArray.from_arrays(same, ["glyphs.pack"]),
                "offset": pa.array(start[glyph]),
                "length": pa.array(length[glyph]),
                "split": pa.DictionaryArray.from_arrays(same, ["train"]),
                "keep": pa.repeat(True, len(image_id)),
            }
            writer.write_table(pa.table(columns, schema=schema))
    subspaces = max(1, identities // IDS_PER_SUBSPACE)
    subspace_id = np.random.default_rng(0).integers(subspaces, size=identities, dtype=np.int32)
    owned = IdentityImages(
        np.arange(identities, dtype=np.int32),
        np.arange(0, images + 1, IMAGES, dtype=np.int64),
        np.arange(images, dtype=np.int64),
    )
    config = PlanConfig(strategy="subspace", steps=WARM_UP + TIMED, P=P, K=K)
    write_plan(folder / "plan", plan_batches(owned, subspace_id, config), owned)


def measure(case: str, folder: Path, identities: int) -> dict[str, float]:
    """Milliseconds of a step and MiB of memory."""
    torch.set_num_threads(1)
    expression, arguments, _ = CASES[case]
    network = build_backbone("small", seed=0)
    before = memory("VmRSS")
    opened = time.perf_counter()
    manifest, plan = Manifest.open(folder / "manifest.parquet"), Plan(folder / "plan")
    in_memory = case.endswith("in memory")
    store = ImageStore(manifest) if in_memory else training_images(manifest, folder / "images.index")
    opened = time.perf_counter() - opened
    loss = build_loss(expression, arguments, synthetic(identities, network.embedding_size))
    config = OptimizerConfig.model_validate({**SGD, "lr": 1e-3, "schedule": "constant", "warmup_steps": 0})
    # As in `subspace train`: identity ids, or their places, which here are the same numbers.
    labels = places_of(identities, plan) if loss.labels_are_places else plan.identities_of
    batches = load_batches(
        DecodedBatches(store, plan.__getitem__, network.input), range(WARM_UP + TIMED), num_workers=1
    )
    steps = train_steps(
        TrainingState(network, loss, build_optimizer([network, loss], config)),
        batches,
        labels,
        config,
        LoaderConfig(),
        first_step=0,
        total_steps=len(plan),
        device=torch.device("cpu"),
        seed=0,
    )
    wall, processor, warm = [], [], 0
    begun = started = time.perf_counter()
    busy = time.process_time()
    for record in steps:
        if record.loss is None or not torch.isfinite(record.loss):
            raise SystemExit(f"step {record.step} of {case} learned nothing")
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - busy)
        started, busy = time.perf_counter(), time.process_time()
        if not warm and (len(wall) == WARM_UP or (len(wall) > 1 and started - begun > AT_MOST / 3)):
            warm = len(wall)
        if warm and len(wall) - warm >= AT_LEAST and sum(wall[warm:]) > AT_MOST:
            break
    steps.close()
    del batches  # ends the loader's process, whose memory counts once it has ended
    return {
        "ms": 1000 * statistics.median(wall[warm:]),
        "cpu": 1000 * statistics.median(processor[warm:]),
        "steps": len(wall) - warm,
        "peak": memory("VmHWM"),
        "own": memory("VmHWM") - before,
        "worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10,
        "open": opened,
    }


def synthetic(identities: int, embedding_size: int) -> TrainingSet:
    """Random means, drawn only for a loss that asks."""
    return TrainingSet(
        identities,
        embedding_size,
        means=lambda: torch.randn(identities, embedding_size, generator=torch.Generator().manual_seed(0)),
        subspace_of=lambda: torch.zeros(identities, dtype=torch.int64),
        seed=0,
    )


def places_of(identities: int, plan: Plan) -> Callable[[int, np.ndarray], np.ndarray]:
    """Labels as places among all identities."""
    known = np.arange(identities, dtype=np.int32)
    return lambda step, image_id: np.searchsorted(known, plan.identities_of(step, image_id))


def memory(what: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 2**10


def table(results: Results) -> list[str]:
    """Markdown: medians, and in brackets how much more that is than with the fewest identities, round by round."""
    lines = [
        "| loss | identities | step, ms | processor time, ms | peak memory, MiB | after start-up, MiB | loader, MiB | opening, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (case, size), runs in sorted(
        results.items(), key=lambda item: (list(CASES).index(item[0][0]), item[0][1])
    ):
        fewest = results[case, min(n for name, n in results if name == case)]
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        times = {
            key: statistics.median(run[key] / base[key] for run, base in zip(runs, fewest, strict=False))
            for key in runs[0]
        }
        lines.append(
            f"| {case} | {size:,} | {middle['ms']:,.0f} ({times['ms']:.2f}) | {middle['cpu']:,.0f} ({times['cpu']:.2f}) "
            f"| {middle['peak']:,.0f} ({times['peak']:.2f}) | {middle['own']:,.0f} | {middle['worker']:,.0f} | {middle['open']:.1f} |"
        )
    return lines


def draw(results: Results, out: Path) -> None:
    """Processor time of a step and memory over identities, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key, title in zip(
        figure.subplots(1, 2),
        ("cpu", "peak"),
        ("processor time of a step, ms", "peak memory of the training process, MiB"),
        strict=True,
    ):
        for case in CASES:
            sizes = sorted(size for name, size in results if name == case)
            if sizes:
                middle = [statistics.median(run[key] for run in results[case, size]) for size in sizes]
                axes.plot(sizes, middle, "o-", label=case)
        axes.set(xscale="log", yscale="log", xlabel="identities", title=title)
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].legend(fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def in_a_process(*arguments: object) -> dict[str, float]:
    """Call this script for one measurement, or with one more word for the preparation of a size."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description="Cost of a training step against the number of identities.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="keep manifests and plans here, and use those that are there"
    )
    parser.add_argument("--plot", type=Path, help="PNG to draw")
    parser.add_argument("--one", nargs=3, metavar=("CASE", "FOLDER", "IDENTITIES"))
    options = parser.parse_args()
    if options.one:
        case, folder, identities = options.one[0], Path(options.one[1]), int(options.one[2])
        result = measure(case, folder, identities) if case in CASES else prepare(folder, identities)
        print(json.dumps(result))
        return

    with tempfile.TemporaryDirectory() as scratch:
        results: Results = {}
        folders = {size: (options.folder or Path(scratch)) / str(size) for size in options.sizes}
        for size, folder in folders.items():
            if not (folder / "plan").exists():
                in_a_process("prepare", folder, size)
            in_a_process("batch_ohnm", folder, size)  # makes the index
        for turn in range(options.rounds):
            for case in options.cases:
                if turn and case != "batch_ohnm":
                    continue
                sizes = [size for size in options.sizes if size <= CASES[case][2]]
                for size in sizes if turn % 2 == 0 else sizes[::-1]:
                    result = in_a_process(case, folders[size], size)
                    print(f"{case}, {size:,}: {result}", file=sys.stderr, flush=True)
                    results.setdefault((case, size), []).append(result)
        print("\n".join(table(results)))
        if options.plot:
            draw(results, options.plot)


if __name__ == "__main__":
    main()

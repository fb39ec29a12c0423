"""Every loss, from one start, for 400 steps of planned batches on the demo's glyphs: one row each.

    python benchmarks/losses_on_demo.py OUT [LOSS ...]

Runs that are finished in OUT are read, not run again. The start is OUT/start, made on first use.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from subspace.train.losses import LOSSES

REPOSITORY = Path(__file__).resolve().parent.parent
METRICS = ("Rank-1", "Rank-5", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "TAR@FAR=1e-4")
START = [
    "pretrain.steps=400",
    "pretrain.P=48",
    "pretrain.optimizer.lr=2e-3",
    "pretrain.optimizer.warmup_steps=50",
]
TRAIN = [
    "rounds=1",
    "plan.steps=400",
    "plan.P=40",
    "plan.K=4",
    "plan.strategy=custom",
    "extract.max_images=null",
    "recluster.refresh=extract",
    "train.optimizer.warmup_steps=30",
    "eval.probes_per_identity=null",
    "eval.bootstrap=10",
]
OWN = {
    **{
        name: [f"train.loss_args.{name}.scale=20"]  # the papers' 64 and 32 are for larger networks
        for name in ("cosface", "arcface", "mv_softmax", "curricularface", "partial_fc", "subspace_softmax")
    },
    "offline": ["plan.group_size=2"],
    "multi_similarity": ["train.loss_args.multi_similarity.base=0.5"],
    "xbm:multi_similarity": [
        "train.loss_args.xbm.warmup_steps=100",
        "train.loss_args.multi_similarity.base=0.5",
    ],
    "xbm:batch_ohnm": ["train.loss_args.xbm.warmup_steps=100"],
}
"""Settings of a loss that differ from its defaults."""


def subspace(*arguments: str | Path) -> str:
    """Run a command and return what it prints."""
    command = [sys.executable, "-m", "subspace.pipeline.cli", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def row(name: str, metrics: dict[str, dict[str, float]], seconds: float | None) -> str:
    """One row of the Markdown table."""
    cells = [f"{100 * metrics[metric]['value']:.1f}" for metric in METRICS]
    return f"| {name} | {' | '.join(cells)} | {'' if seconds is None else f'{seconds:.0f}'} |"


def main(out: Path, names: list[str]) -> None:
    """Train what is missing and print the table."""
    manifest = REPOSITORY / "data_manifests" / "demo.parquet"
    if not (out / "start" / "subspace.yaml").exists():
        subspace("init", out / "start", "--manifest", manifest, *START)
    subspace("pretrain", out / "start", "--quiet")
    checkpoint = f"checkpoint:{(out / 'start' / 'start' / 'checkpoint').resolve()}"
    print(
        f"| loss | batches | {' | '.join(METRICS)} | training s |\n|{'---|' * (len(METRICS) + 3)}", flush=True
    )
    for name in names:
        for batches, size in (("random", "all"), ("subspace", "100")):
            run = out / f"{name.replace(':', '-')}-{batches}"
            if not (run / "subspace.yaml").exists():
                settings = [f"train.loss={name}", f"cluster.ids_per_subspace={size}", *OWN.get(name, [])]
                subspace("init", run, "--manifest", manifest, "--model", checkpoint, *TRAIN, *settings)
            results = json.loads(subspace("run", run, "--json", "--quiet"))
            if name == names[0] and batches == "random":
                print(row("start | ", results["start"]["metrics"], None), flush=True)
            seconds = json.loads((run / "round-000" / "done" / "train.json").read_text())["summary"][
                "seconds"
            ]
            print(row(f"{name} | {batches}", results["round-000"]["metrics"], seconds), flush=True)


if __name__ == "__main__":
    alone = [name for name in LOSSES if name != "xbm"]
    chosen = sys.argv[2:] or [*alone, "xbm:multi_similarity", "xbm:batch_ohnm"]
    main(Path(sys.argv[1]), chosen)

"""The commands one after another on the emoji set: ingest, init, run, eval, export; random batches beside subspaces.

    python data_manifests/emoji/make_emoji.py --out data/emoji
    python benchmarks/loops_on_emoji.py data/emoji/images.csv runs/emoji small [SECTION.KEY=VALUE ...]

Prints a row for each network. Both arms begin with one network and differ in the recipe alone; the last row is the exported
ONNX file of the subspaces, in onnxruntime. What is done in the folder is not done again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

METRICS = ("Rank-1", "Rank-5", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "TAR@FAR=1e-4")
START = ("pretrain.steps=300", "pretrain.P=32")
ROUNDS = ("rounds=2", "plan.steps=100", "plan.P=32", "plan.K=4", "eval.probes_per_identity=null")


def subspace(*words: str | Path, run: Path | None = None) -> None:
    """Run a command and stop where it stops; nothing where `run` has been made already."""
    if run is None or not run.exists():
        print("$ subspace", *words, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "subspace.pipeline.cli", *words], stdout=sys.stderr, check=True)


def evaluation(run: Path) -> dict[str, Any]:
    """The stored evaluation of a network of a run."""
    return json.loads((run / "evaluation.json").read_text())["metrics"]


def main(images: Path, out: Path, model: str, settings: list[str]) -> None:
    """Run what is missing and print the table."""
    manifest = out / "manifest.parquet"
    out.mkdir(parents=True, exist_ok=True)
    subspace("ingest", images, "--out", manifest, run=manifest)
    name = model.replace(":", "-")
    arms = {"subspaces": out / f"{name}-subspaces", "random": out / f"{name}-random"}
    first, second = arms.values()
    shared = ("--manifest", manifest, *ROUNDS)
    subspace("init", first, "--model", model, *shared, *START, *settings, run=first)
    subspace("run", first)
    start = f"checkpoint:{first / 'start' / 'checkpoint'}"
    later = (*settings, "pretrain.steps=0")
    subspace("init", second, "--recipe", "random", "--model", start, *shared, *later, run=second)
    subspace("run", second)
    print(f"| network | batches | {' | '.join(METRICS)} | training s | mining s |")
    print("|" + "---|" * (len(METRICS) + 4))
    rows = {"": first / "start", **{arm: run / "round-001" for arm, run in reversed(arms.items())}}
    exported = out / f"{name}-exported"
    subspace("export", first / "round-001" / "checkpoint", "--to", "onnx", "--out", exported, run=exported)
    rows["subspaces, exported"] = _as_a_frozen_network(
        out / f"{name}-onnx", exported / "model.onnx", manifest, settings
    )
    for arm, network in rows.items():
        metrics = evaluation(network)
        cells = [f"{100 * metrics[metric]['value']:.1f}" for metric in METRICS]
        print(f"| {model} | {arm or 'start'} | {' | '.join(cells)} | {_seconds(network.parent, arm)} |")


def _as_a_frozen_network(run: Path, file: Path, manifest: Path, settings: list[str]) -> Path:
    """The exported file tested on the same images; its folder in `run`."""
    tested = (*ROUNDS, *(setting for setting in settings if setting.startswith("eval.")), "pretrain.steps=0")
    subspace("init", run, "--model", f"onnx:{file}", "--manifest", manifest, *tested, run=run)
    subspace("pretrain", run)
    subspace("eval", run)
    return run / "start"


def _seconds(run: Path, arm: str) -> str:
    """What all rounds took: training, and everything else."""
    if run.name.endswith("-onnx"):
        return " | "
    if not arm:
        return f"{_took(run / 'start', 'pretrain'):.0f} |"
    folders = sorted(run.glob("round-*"))
    trained = sum(_took(folder, "train") for folder in folders)
    mined = sum(_took(folder, stage) for folder in folders for stage in ("extract", "cluster", "plan"))
    return f"{trained:.0f} | {mined:.0f}"


def _took(folder: Path, stage: str) -> float:
    marker = folder / "done" / f"{stage}.json"
    return json.loads(marker.read_text())["seconds"] if marker.exists() else 0.0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])

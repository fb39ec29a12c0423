"""Run folders with completion markers, logs and evaluations that no stage made, for readers of finished runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import CENTROIDS
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stage_folder import StageFolder


def made_up_run(path: Path, settings: str = "") -> RunDirectory:
    """A run with settings and nothing else; its manifest does not exist."""
    path.mkdir(parents=True)
    (path / "subspace.yaml").write_text(f"manifest: gone.parquet\n{settings}", encoding="utf-8")
    return RunDirectory(path)


def finish(folder: StageFolder, stage: str, seconds: float = 1.0, fields: Mapping[str, Any] | None = None, **summary: Any) -> None:  # fmt: skip
    """Write the completion marker of a stage."""
    marker = folder.marker(stage)
    marker.parent.mkdir(parents=True, exist_ok=True)
    values = {"stage": stage, "fingerprint": f"{folder.name}-{stage}", "seconds": seconds,
              "finished": "2026-01-02 03:04:05 UTC", "summary": summary, "fields": {"code": "0.1.0", **(fields or {})}}  # fmt: skip
    marker.write_text(json.dumps(values))


def examine(folder: StageFolder, stage: str, value: float, *, width: float = 0.02, metric: str = "Rank-1", **fields: Any) -> None:  # fmt: skip
    """Finish an evaluation or validation that came to `value` with an interval of twice `width`."""
    figures = {metric: {"value": value, "low": value - width, "high": value + width}}
    file = folder.evaluation if stage == "eval" else folder.validation
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"fingerprint": "f", "metrics": figures, "identities": 100, "probes": 200, "gallery": 100,
                                "distractors": 0, "genuine_pairs": 200, "impostor_pairs": 900}))  # fmt: skip
    finish(folder, stage, fields={"manifest": "m", **fields}, **{metric: value})


def log(folder: StageFolder, lines: list[dict[str, float | None]]) -> None:
    """Write metrics.jsonl."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def train(folder: StageFolder, steps: int, every: int = 10) -> None:
    """Finish a round with its mining, its training and its log."""
    finish(folder, "extract", 4.0, identities=30)
    finish(
        folder, "cluster", 1.0, subspaces=3, smallest=8, largest=12, kept=0.4, gain=2.5, **{"recall@10": 0.75}
    )
    finish(folder, "plan", 1.0, batches=steps, hardness=0.6, random_hardness=0.4)
    sizes = pa.array([8, 10, 12], pa.int32())
    centroids = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 2)
    table = pa.table({"subspace_id": pa.array(range(3), pa.int32()), "size": sizes, "centroid": centroids})
    write_parquet(folder.centroids, CENTROIDS, table, "fingerprint")
    log(
        folder,
        [
            {"step": step, "loss": 2.0 - step / steps, "active_fraction": 0.5, "d_ap": 0.4, "d_an": 1.0, "lr": 0.01,
             "seconds": 3.0 * (step + 1) / every, "seconds_data": 1.0, "seconds_forward": 2.0}
            for step in range(every - 1, steps, every)
        ],
    )  # fmt: skip
    finish(folder, "train", 10.0, steps=steps, loss=1.0, active_fraction=0.5)

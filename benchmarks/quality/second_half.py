"""Train the second half of a planned row whose first half is kept, with the rates that its steps would have had.

    python benchmarks/quality/second_half.py data/quality/runs/words-1m-batch-1024/ARM-0-steps-2.5-visits

For a row that was ended between its two rounds, and of which nothing but the network is left. Unlike the whole row it
begins the optimiser anew, with a warm-up, and embeds the identities again (two images of each), as the running means
are lost. It is a run of its own beside the row's, `ARM-...-second-half`, and goes on where it was killed. Prints the columns of
the exam. With --random the second half has random batches instead: what the restart alone is worth.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from examination import examine
from omegaconf import OmegaConf
from one_row import MEANS

import subspace.train.loop as training_loop
from subspace.mining.artifacts import write_text
from subspace.pipeline.cli import main as subspace
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import learning_rate

OWN = {
    "seed": 1,  # other batches than those of the first half
    "rounds": 1,
    "recluster.refresh": "extract",
    "extract.max_images": 2,
    "extract.precision": "32-true",
    "train.precision": "32-true",
    "train.num_workers": "auto",
    "extract.num_workers": "auto",
    "extract.batch_size": 64,
    "train.save_every": 200,
}
"""What differs from the settings of the row; the rest of it is kept, batches and loss above all."""
RANDOM = {
    "cluster.ids_per_subspace": "all",
    "plan.strategy": "random",
    "plan.group_size": None,
    "plan.random_fraction": None,
}


def main(
    row: Annotated[Path, typer.Argument(help="run folder of the row")],
    data: Annotated[str, typer.Option(help="its set")] = "words-1m",
    manifest: Annotated[Path, typer.Option(help="manifest of the set")] = Path(
        "data/words/1m/manifest.parquet"
    ),
    random: Annotated[
        bool, typer.Option("--random", help="random batches from the half-way network on")
    ] = False,
) -> None:
    """Train, examine, and print the columns."""
    half = row.resolve() / "round-000" / "checkpoint"
    if not (half / "meta.json").exists():
        sys.exit(f"{half} is not there: {row} is no row whose first half is kept")
    first = json.loads((half / "meta.json").read_text())["step"]
    planned = row.with_name(f"{row.name}-second-half").resolve()
    run = planned.with_name(f"{planned.name}-random") if random else planned
    if not (run / "subspace.yaml").exists():
        settings = OmegaConf.load(row / "subspace.yaml")
        own = {"manifest": str(manifest.resolve()), "model": f"checkpoint:{half}", **OWN}
        own |= RANDOM if random else {}
        for name, value in own.items():
            OmegaConf.update(settings, name, value)
        run.mkdir(exist_ok=True)
        write_text(run / "subspace.yaml", OmegaConf.to_yaml(settings))
    for name in MEANS if random else ():  # those of the planned one are of the same network
        if (planned / "round-000" / name).exists() and not (run / "round-000" / name).exists():
            (run / "round-000" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(planned / "round-000" / name, run / "round-000" / name)
    whole = first + OmegaConf.load(run / "subspace.yaml").plan.steps

    def later(config: OptimizerConfig, step: int, total_steps: int) -> float:
        """The rate that the whole row has at this step, warmed up for the new optimiser."""
        return learning_rate(config, first + step, whole) * min(1.0, (step + 1) / config.warmup_steps)

    training_loop.learning_rate = later
    sys.argv = ["subspace", "run", str(run)]
    try:
        subspace()
    except SystemExit as ended:
        if ended.code:
            raise
    print(json.dumps(examine(run / "round-000" / "checkpoint", data), indent=1))


if __name__ == "__main__":
    typer.run(main)

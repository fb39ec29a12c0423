"""Train the second half of a planned row whose first half is kept, with the rates that its steps would have had.

    python benchmarks/quality/second_half.py                    # of the default plan
    python benchmarks/quality/second_half.py --arm "groups of 8, 75% random, multi-similarity, ..., n=1,000"

For a row that was ended between its two rounds, and of which nothing but the network is left. Unlike the whole row it
begins the optimiser anew, with a warm-up, and embeds the identities again (two images of each), as the running means
are lost. It is a run of its own beside the row's, `ARM-...-second-half`, and goes on where it was killed. With --random
the second half has random batches instead: what the restart alone is worth.

Prints the exam of all rows of that table: those in one piece, then every second half that was trained here.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import Annotated

import typer
from arms import ARMS
from data_sets import set_named
from examination import TOLD_APART, examine
from make_pages import LEAD
from omegaconf import OmegaConf
from one_row import MEANS, Row
from table import QUALITY, mean, read_results

import subspace.train.loop as training_loop
from subspace.mining.artifacts import write_text
from subspace.pipeline.cli import main as subspace
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import learning_rate

DEFAULT = list(LEAD.values())[-1]
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
COLUMNS = "columns.json"
"""Beside the settings of a second half: what it is and how it was examined."""


def main(
    arm: Annotated[str, typer.Option(help="one of arms.py")] = DEFAULT,
    data: Annotated[str, typer.Option(help="its set")] = "words-1m",
    batch: Annotated[int, typer.Option(help="images of a batch")] = 1024,
    visits: Annotated[float, typer.Option(help="of each identity, by both halves")] = 2.5,
    random: Annotated[
        bool, typer.Option("--random", help="random batches from the half-way network on")
    ] = False,
) -> None:
    """Train, examine, and print the table."""
    if arm not in ARMS:
        sys.exit(f"no such arm: {arm}; arms: {'; '.join(ARMS)}")
    row = Row(ARMS[arm], data, 0, "steps", visits, batch=batch)
    half = row.run / "round-000" / "checkpoint"
    if not (half / "meta.json").exists():
        sys.exit(f"{half} is not there: {arm} is no row whose first half is kept")
    first = json.loads((half / "meta.json").read_text())["step"]
    planned = row.run.with_name(f"{row.name}-second-half")
    run = planned.with_name(f"{planned.name}-random") if random else planned
    if not (run / "subspace.yaml").exists():
        settings = OmegaConf.load(row.run / "subspace.yaml")
        own = {"manifest": str(set_named(data).manifest), "model": f"checkpoint:{half}", **OWN}
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
    sys.argv = ["subspace", "run", str(run), "--quiet"]
    try:
        subspace()
    except SystemExit as ended:
        if ended.code:
            raise
    columns = examine(run / "round-000" / "checkpoint", data)
    title = f"{arm}{'; then random batches' if random else ''}"
    write_text(run / COLUMNS, json.dumps({"title": title, "steps": whole, **columns}, indent=1) + "\n")
    print("\n".join(table(row)))


def table(row: Row) -> list[str]:
    """Markdown of the rows in one piece and the second halves beside a row's run."""
    rows = {arm: results for (arm, _), results in read_results(row.table, row.visits).items()}
    for path in sorted(row.run.parent.glob(f"*/{COLUMNS}")):
        half = json.loads(path.read_text())
        rows[f"in two halves: {half['title']}"] = [half]
    names = {key: title for key, title in QUALITY.items() if not key.startswith(TOLD_APART)}
    lines = [f"| arm | {' | '.join(names.values())} |", f"|{'---|' * (1 + len(names))}"]
    for title, results in rows.items():
        cells = [f"{100 * mean(results, key):.1f}" for key in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    typer.run(main)

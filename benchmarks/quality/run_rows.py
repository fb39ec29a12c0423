"""Train and examine the rows of the comparison that are missing, several at a time.

    python benchmarks/quality/run_rows.py --data 20k                        # every arm: equal steps, then wall-clock
    python benchmarks/quality/run_rows.py --data 100k --arm "Partial FC CosFace, r=0.1" --seed 1 --budget steps --again

Needs `make glyphs`. Every row is one JSON file in results/SET/; rows that have one are passed over, and a row that
was killed goes on where it was. The wall-clock budget is what REFERENCE takes for its equal steps.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer
from ablations import ABLATIONS
from arms import ARMS, VISITS
from networks import NETWORKS
from one_row import RESULTS, Budget, Row, make_row, share_inputs

REFERENCE = "random, batch OHNM"
"""The arm whose time everybody has."""
NEAR = 0.05
"""A row of equal steps whose time is this near to the budget, nearer than two turns of one row, also counts as one of
equal wall-clock."""


def main(
    data: Annotated[str, typer.Option(help="20k or 100k; see glyph_sets.py")] = "20k",
    arm: Annotated[list[str] | None, typer.Option(help="one of arms.py, or several; default: all")] = None,
    ablation: Annotated[list[str] | None, typer.Option(help="rows of one of ablations.py instead")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="default: 0")] = None,
    budget: Annotated[str, typer.Option(help="steps, wallclock, or both")] = "both",
    jobs: Annotated[int, typer.Option(help="rows at a time")] = 4,
    threads: Annotated[int, typer.Option(help="processor cores of each row")] = 1,
    network: Annotated[str, typer.Option(help="small or double; see networks.py")] = "small",
    visits: Annotated[float, typer.Option(help="of each identity; fewer is no row of the table")] = VISITS,
    out: Annotated[Path, typer.Option(help="folder of the results")] = RESULTS,
    again: Annotated[bool, typer.Option(help="make rows again that have a result")] = False,
) -> None:
    """Make the missing rows."""
    unknown = [name for name in arm or () if name not in ARMS]
    if unknown or budget not in ("steps", "wallclock", "both") or network not in NETWORKS:
        given = ", ".join([*unknown, budget, network])
        sys.exit(f"no such arm, budget or network: {given}; arms: {'; '.join(ARMS)}")
    if ablation:
        _make_ablations(ablation, seed or [0], jobs, threads)
        return
    rows = [
        Row(ARMS[name], data, number, one, visits, threads, network, out)
        for one in _budgets(budget)
        for number in seed or (0,)
        for name in arm or ARMS
    ]
    if again:
        for row in rows:
            row.result.unlink(missing_ok=True)
            shutil.rmtree(row.run, ignore_errors=True)
    for one in _budgets(budget):
        _all([row for row in rows if row.budget == one], jobs)


def _budgets(budget: str) -> tuple[Budget, ...]:
    return ("steps", "wallclock") if budget == "both" else (budget,)  # pyright: ignore[reportReturnType]  # checked


def _make(row: Row) -> None:
    torch.set_num_threads(row.threads)
    if row.budget == "steps":
        make_row(row)
        return
    reference = row.of(ARMS[REFERENCE], "steps").read()
    equal_steps = row.of(row.arm, "steps").read()
    if abs(equal_steps["seconds"] / reference["seconds"] - 1) <= NEAR:
        row.write({**equal_steps, "budget": "wallclock", "same_run_as": "steps"})
    else:
        make_row(row, reference["seconds"])


def _make_ablations(names: list[str], seeds: list[int], jobs: int, threads: int) -> None:
    unknown = set(names) - set(ABLATIONS)
    if unknown:
        sys.exit(f"no ablation {min(unknown)!r}; there are {', '.join(ABLATIONS)}")
    points = [point for name in names for point in ABLATIONS[name].points]
    rows = {
        Row(point.arm, point.data, seed, "steps", point.visits or VISITS, threads): None
        for point in points
        for seed in seeds
    }
    _all(list(rows), jobs)


def _all(rows: list[Row], jobs: int) -> None:
    """Make the rows without a result, one process each; a row that fails is named, and the others go on."""
    missing = [row for row in rows if not row.result.exists()]
    for row in {(row.data, row.seed, row.arm.embedding_size): row for row in missing}.values():
        share_inputs(row)
    failed = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(_make, row): row for row in missing}
        for done in as_completed(running):
            row, problem = running[done], done.exception()
            if problem is None:
                print(_line(row), flush=True)
            else:
                failed.append(row.name)
                print(f"{row.name}: {problem}", file=sys.stderr, flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _line(row: Row) -> str:
    result = row.read()
    told = ", ".join(f"{key} {100 * result[key]:.1f}" for key in ("rank1_10k", "tar_1e-4", "tar_1e-6"))
    return (
        f"{row.data} {row.arm.name}, seed {row.seed}, equal {row.budget}: {told}, {result['seconds']:.0f} s"
    )


if __name__ == "__main__":
    typer.run(main)

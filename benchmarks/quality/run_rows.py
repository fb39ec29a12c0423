"""Train and examine the rows of the comparison that are missing, several at a time.

    python benchmarks/quality/run_rows.py --data 20k                        # every arm: equal steps, then wall-clock
    python benchmarks/quality/run_rows.py --data 100k --arm "Partial FC CosFace, r=0.1" --seed 1 --budget steps --again
    python benchmarks/quality/run_rows.py --row benchmarks/quality/results/20k/random-circle-0-steps.json --again
    python benchmarks/quality/run_rows.py --data 20k --budget steps --examine   # another exam, where the runs are kept

Needs `make glyphs`; a set of words `make words` of its size, and of 100k. Every row is one JSON file in results/TABLE/, see one_row.py; rows that have one are passed over, and a row that
was killed goes on where it was. The wall-clock budget is what REFERENCE takes for its equal steps; how many steps of
another arm fit into it is counted from pilots, short runs of both on this machine, which are kept: make those of all
arms in one go, so that they have the same work beside them as the rows.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer
from ablations import ABLATIONS
from arms import ARMS, LR, VISITS, K, P
from data_sets import is_of_words
from examination import examine as columns_of
from glyph_sets import wide_manifest
from lookalikes import lookalikes
from networks import NETWORKS
from one_row import RESULTS, Budget, Row, make_row, share_inputs

REFERENCE = "random, batch OHNM"
"""The arm whose time everybody has."""
NEAR = 0.05
"""Where so nearly as many steps fit into the wall-clock budget, nearer than the times of two turns of one row, the
row of equal steps also counts as one of equal wall-clock."""


def main(
    data: Annotated[str, typer.Option(help="20k, 100k, words-100k, words-1m; see data_sets.py")] = "20k",
    arm: Annotated[list[str] | None, typer.Option(help="one of arms.py, or several; default: all")] = None,
    ablation: Annotated[list[str] | None, typer.Option(help="rows of one of ablations.py instead")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="default: 0")] = None,
    budget: Annotated[str, typer.Option(help="steps, wallclock, or both")] = "both",
    jobs: Annotated[int, typer.Option(help="rows at a time")] = 4,
    threads: Annotated[int, typer.Option(help="processor cores of each row")] = 1,
    network: Annotated[str, typer.Option(help="small or double; see networks.py")] = "small",
    lr: Annotated[float, typer.Option(help="peak learning rate of training")] = LR,
    visits: Annotated[float, typer.Option(help="of each identity; fewer is no row of the table")] = VISITS,
    batch: Annotated[int, typer.Option(help="images of a batch; another number is another table")] = P * K,
    workers: Annotated[int, typer.Option(help="with a GPU, loader processes of each row")] = 0,
    later: Annotated[
        bool, typer.Option(help="train only; --examine adds the columns, elsewhere if need be")
    ] = False,
    out: Annotated[Path, typer.Option(help="folder of the results")] = RESULTS,
    again: Annotated[bool, typer.Option(help="make rows again that have a result")] = False,
    row: Annotated[list[Path] | None, typer.Option(help="rows of these files of results instead")] = None,
    examine: Annotated[
        bool, typer.Option(help="only examine rows again that have a result and whose run is kept")
    ] = False,
) -> None:
    """Make the missing rows."""
    unknown = [name for name in arm or () if name not in ARMS]
    if unknown or budget not in ("steps", "wallclock", "both") or network not in NETWORKS:
        given = ", ".join([*unknown, budget, network])
        sys.exit(f"no such arm, budget or network: {given}; arms: {'; '.join(ARMS)}")
    budgets = _budgets(budget)
    if row:
        rows = [stored_row(path) for path in row]
    elif ablation:
        rows = _of_ablations(ablation, seed or [0], threads)
    else:
        rows = [
            Row(
                ARMS[name], data, number, one, visits, threads, network, lr, out, batch=batch, workers=workers
            )
            for one in budgets
            for number in seed or (0,)
            for name in arm or ARMS
        ]
    if examine:
        examine_again(rows)
        return
    if again:
        for one in rows:
            one.result.unlink(missing_ok=True)
            shutil.rmtree(one.run, ignore_errors=True)
    for which in ("steps", "wallclock"):  # a row of equal steps may count as one of equal wall-clock
        make_rows([one for one in rows if one.budget == which], jobs, examined=not later)


def stored_row(path: Path) -> Row:
    """The row of a file of results; exits with one line where no arm makes it any more."""
    if not path.exists():
        sys.exit(f"{path} is not there; --row takes a JSON file below {RESULTS}")
    result = json.loads(path.read_text())
    known = {**{p.arm.name: p.arm for ablation in ABLATIONS.values() for p in ablation.points}, **ARMS}
    if result["arm"] not in known:
        sys.exit(f"{path}: no arm {result['arm']!r} in arms.py or ablations.py; it was renamed or dropped")
    named = re.search(r"-([\d.]+)-visits$", path.stem)
    batch = re.search(r"-batch-(\d+)$", path.resolve().parent.name)
    return Row(
        known[result["arm"]],
        result["data"].removeprefix("glyph-"),
        result["seed"],
        result["budget"],
        float(named[1]) if named else VISITS,
        network=result.get("network", "small"),
        lr=result["lr"],
        out=path.resolve().parent.parent,
        batch=int(batch[1]) if batch else P * K,
    )


def examine_again(rows: list[Row]) -> None:
    """Write the columns of both exams into the results of rows whose runs are kept; say which those are."""
    for row in rows:
        if not row.result.exists():
            continue
        result = row.read()
        run = row.of(row.arm, result.get("same_run_as", row.budget)).run
        last = max(run.glob("round-*/checkpoint"), default=None)
        if last is None:
            print(f"{row.name}: no run in {run}, so it is as it was", flush=True)
        else:
            row.write({**result, **columns_of(last, row.data)})
            print(_line(row), flush=True)


def _budgets(budget: str) -> tuple[Budget, ...]:
    return ("steps", "wallclock") if budget == "both" else (budget,)  # pyright: ignore[reportReturnType]  # checked


def _make(row: Row, *, examined: bool = True) -> None:
    torch.set_num_threads(row.threads)
    if row.budget == "steps":
        make_row(row, row.equal_steps, examined=examined)
        return
    steps, equal_steps = row.steps_in_time_of(_reference(row)), row.of(row.arm, "steps")
    if abs(steps / row.equal_steps - 1) <= NEAR and equal_steps.result.exists():
        row.write({**equal_steps.read(), "budget": "wallclock", "same_run_as": "steps"})
    else:
        make_row(row, steps, examined=examined)


def _reference(row: Row) -> Row:
    return row.of(ARMS[REFERENCE], "wallclock")


def _make_pilot(row: Row) -> None:
    torch.set_num_threads(row.threads)
    row.pace()


def _of_ablations(names: list[str], seeds: list[int], threads: int) -> list[Row]:
    unknown = set(names) - set(ABLATIONS)
    if unknown:
        sys.exit(f"no ablation {min(unknown)!r}; there are {', '.join(ABLATIONS)}")
    points = [point for name in names for point in ABLATIONS[name].points]
    return list({point.row(seed, threads): None for point in points for seed in seeds})


def make_rows(rows: list[Row], jobs: int, *, examined: bool = True) -> None:
    """Make the rows without a result, one process each; a row that fails is named, and the others go on."""
    missing = [row for row in rows if not row.result.exists()]
    if examined and not all(is_of_words(row.data) for row in missing):
        lookalikes(wide_manifest())  # for the exam: what hinders it is said before hours of training
    for row in {(row.data, row.seed, row.arm.embedding_size): row for row in missing}.values():
        share_inputs(row)
    timed = [row for row in missing if row.budget == "wallclock"]
    pilots = list({row.name: row for row in [*map(_reference, timed), *timed]}.values())
    _each(_make_pilot, pilots, jobs)
    failed = _each(partial(_make, examined=examined), missing, jobs)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _each(work: Callable[[Row], None], rows: list[Row], jobs: int) -> list[str]:
    """Do the work of each row in a process of its own; return the names of those that failed."""
    failed = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(work, row): row for row in rows}
        for done in as_completed(running):
            row, problem = running[done], done.exception()
            if problem is not None:
                failed.append(row.name)
                print(f"{row.name}: {problem}", file=sys.stderr, flush=True)
            elif work is not _make_pilot:
                print(_line(row), flush=True)
    return failed


def _line(row: Row) -> str:
    result = row.read()
    keys = [key for key in ("rank1_10k", "tar_1e-4", "tar_1e-6") if key in result]
    told = ", ".join(f"{key} {100 * result[key]:.1f}" for key in keys) or "not examined"
    return (
        f"{row.data} {row.arm.name}, seed {row.seed}, equal {row.budget}: {told}, {result['seconds']:.0f} s"
    )


if __name__ == "__main__":
    typer.run(main)

"""Searched losses beside random draws from their spaces and beside the losses of the field, on the demo's glyphs.

    python benchmarks/search_loss_on_demo.py OUT [--seeds 0 1 2] [--steps 120] [--draws 2] [--unlearned]

Every arm trains the same steps from one start on the same random batches, a row an arm, the mean over the seeds, which draw
batches, validation identities, losses and class vectors. What is finished in OUT is read, not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from losses_on_demo import START

from subspace.mining.artifacts import write_json
from subspace.pipeline import Context
from subspace.pipeline.console import Console
from subspace.pipeline.loss_search.request import Request
from subspace.pipeline.loss_search.search import search_loss
from subspace.pipeline.new_run.initialize import begin_run
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.graph import row
from subspace.train.loss_search.distribution import draw
from subspace.train.loss_search.spaces import Space, SpaceName

MANIFEST = Path(__file__).resolve().parent.parent / "data_manifests" / "demo.parquet"
METRICS = ("Rank-1", "TAR@FAR=1e-2", "TAR@FAR=1e-3")
TRAIN = [
    "rounds=1", "plan.P=24", "plan.K=3", "plan.strategy=custom", "cluster.ids_per_subspace=all",
    "extract.max_images=null", "recluster.refresh=extract", "train.optimizer.warmup_steps=15",
    "eval.probes_per_identity=null", "eval.bootstrap=10", "eval.fars=[1e-2,1e-3]", "validation.bootstrap=10",
    "train.num_workers=0", "extract.num_workers=0", "pretrain.num_workers=0",
]  # fmt: skip
SCALE = 20.0
"""s of every loss but circle's; the papers' 64 and 32 are for larger networks."""
FIELD = ("softmax", "cosface", "arcface", "mv_softmax", "curricularface", "circle")
EPOCHS, CANDIDATES = 8, 4
SPACES: dict[SpaceName, str] = {"am-lfs": "AM-LFS", "search-softmax": "Search-Softmax"}
OPTIONS = Options(console=Console(quiet=True))


def made(run: Path, settings: list[str], model: str = "small") -> Context:
    """A run with these settings, made on first use."""
    if not (run / "subspace.yaml").exists():
        begin_run(RunDirectory(run), MANIFEST, model, settings, force=False)
    return Context.open(run, options=OPTIONS)


def prepared(out: Path, seed: int, steps: int) -> Path:
    """The run that every arm of a seed is a copy of: its start, its means, its plan."""
    start, base = out / "start", out / f"base-{seed}"
    row("pretrain").do(made(start, [*START, *TRAIN]).at_round(-1))
    context = made(
        base,
        [*TRAIN, f"plan.steps={steps}", f"seed={seed}"],
        f"checkpoint:{(start / 'start' / 'checkpoint').resolve()}",
    )
    row("pretrain").do(context.at_round(-1))
    for name in ("extract", "cluster", "plan"):
        row(name).do(context)
    return base


def figures(base: Path, run: Path, loss: list[str]) -> dict[str, float]:
    """Train a copy of the base with a loss, and examine it on the test identities."""
    if not run.exists():
        aside = run.with_name(f".{run.name}")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(base, aside).rename(run)
    context = Context.open(run, loss, OPTIONS)
    row("train").do(context)
    row("eval").do(context)
    return _values(run / "round-000" / "evaluation.json")


def searched(base: Path, run: Path, name: SpaceName, *, learns: bool) -> tuple[Path, dict[str, float]]:
    """Search on a copy of the base; the curve, and the figures of the search's own network."""
    if not run.exists():
        shutil.copytree(base, run)
    request = Request.checked(
        name, bins=6, scale=SCALE, epochs=EPOCHS, candidates=CANDIDATES, steps=None, sigma=0.2, eta=0.05, learns=learns
    )  # fmt: skip
    context = Context.open(run, options=OPTIONS)
    found = search_loss(context, request, [], None)
    assert found is not None
    own = run / "own.json"
    if not own.exists():
        from subspace.pipeline.stages.examination import examine_checkpoint

        done = examine_checkpoint(found.network, context.config, context.manifest, OPTIONS, allow_code=False)
        write_json(own, {"metrics": done["metrics"]})
    return found.curve.resolve(), _values(own)


def _values(path: Path) -> dict[str, float]:
    metrics = json.loads(path.read_text())["metrics"]
    return {name: metrics[name]["value"] for name in METRICS}


Arms = dict[str, list[dict[str, float]]]
"""The figures of each arm of a seed; of random draws several."""


def arms_of_the_field(out: Path, seed: int, base: Path) -> Arms:
    """The losses of the field, each with its usual margin."""
    found: Arms = {}
    for name in FIELD:
        scale = [f"train.loss_args.{name}.scale={SCALE:g}"] if name != "circle" else []
        found[name] = [figures(base, out / f"{name}-{seed}", [f"train.loss={name}", *scale])]
    return found


def searched_arms(out: Path, seed: int, base: Path, draws: int) -> Arms:
    """Found losses, random draws from their spaces, and the networks that the searches themselves trained."""
    found: Arms = {}
    for name, title in SPACES.items():
        curve, own = searched(base, out / f"search-{name}-{seed}", name, learns=True)
        found[f"{title}, found"] = [figures(base, out / f"{name}-{seed}", [f"train.loss=searched:{curve}"])]
        space, drawn = Space(name, 6, SCALE), []
        for number in range(draws):
            file = (out / f"draw-{name}-{seed}-{number}.json").resolve()
            write_json(file, space.curve(draw(space.start, 0.2, seed, 0, number)).to_json())
            run = out / f"draw-{name}-{seed}-{number}"
            drawn.append(figures(base, run, [f"train.loss=searched:{file}"]))
        found[f"{title}, random draws"] = drawn
        found[f"{title}, the search's own network"] = [own]
    return found


def unlearned_arm(out: Path, seed: int, base: Path) -> Arms:
    """The network of a search that draws without learning, and hands on the best candidate all the same."""
    _, own = searched(base, out / f"search-random-{seed}", "am-lfs", learns=False)
    return {"AM-LFS, the own network of a search that learns nothing": [own]}


def table(seeds: list[Arms]) -> str:
    """The Markdown table: mean over seeds, and the deviation between them."""
    lines = [f"| loss | trainings | {' | '.join(METRICS)} |", "|---|---|---|---|---|"]
    for arm in seeds[0]:
        per_seed: list[dict[str, Any]] = [
            {metric: mean(one[metric] for one in each[arm]) for metric in METRICS} for each in seeds
        ]
        cells = []
        for metric in METRICS:
            values = [100 * one[metric] for one in per_seed]
            cells.append(f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else ""))
        lines.append(f"| {arm} | {sum(len(each[arm]) for each in seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument(
        "--unlearned", action="store_true", help="also a search whose Gaussian stays where it is"
    )
    given = parser.parse_args()
    bases = {seed: prepared(given.out, seed, given.steps) for seed in given.seeds}
    rows = [searched_arms(given.out, seed, base, given.draws) for seed, base in bases.items()]
    print(table(rows), file=sys.stderr, flush=True)
    rows = [
        arms_of_the_field(given.out, seed, base) | arms
        for (seed, base), arms in zip(bases.items(), rows, strict=True)
    ]
    if given.unlearned:
        rows = [
            arms | unlearned_arm(given.out, seed, bases[seed]) for seed, arms in zip(bases, rows, strict=True)
        ]
    print(table(rows), flush=True)

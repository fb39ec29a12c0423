"""One row of the table: an arm trained on a set with a seed, examined, and written as one JSON file.

Everything runs through the `subspace` commands, in folders under data/quality:

    NETWORK/start-S              the starting network of seed S: softmax on the 10,000 pretrain identities; of words: start-words-S
    NETWORK/means-SET-S          its identity means, which every arm's first round begins with
    runs/TABLE/ARM-S-BUDGET      the run of a row
    pilots/TABLE/ARM-S-BUDGET    a short one, for its pace

A TABLE is a set, a network, a learning rate and a batch, those that are not the usual ones named: 100k, 20k-double,
20k-lr-0.002, words-1m, words-1m-batch-1024.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from arms import COMMON, LR, PRECISION, PRETRAIN, VISITS, Arm, K, P
from data_sets import set_named, title_of
from examination import examine
from glyph_sets import REPOSITORY, GlyphSet
from networks import NETWORKS
from word_sets import WordSet

from subspace.mining.artifacts import write_text

RESULTS = Path(__file__).resolve().parent / "results"
WORK = REPOSITORY / "data" / "quality"
MEANS = ("identities.parquet", "quarantine.parquet", "done/extract.json")
Budget = Literal["steps", "wallclock"]
PILOT_STEPS = 300
"""Of each round of a pilot."""
ONE_PACE = 0.15
"""Steps whose times differ by less take equally long: two pilots of one arm differ by as much."""


@dataclass(frozen=True)
class Row:
    """Which row of the table."""

    arm: Arm
    data: str
    seed: int
    budget: Budget
    visits: float = VISITS
    threads: int = 1
    network: str = "small"
    lr: float = LR
    out: Path = RESULTS
    pilot: bool = False
    """A short run that only tells the pace."""
    batch: int = P * K
    """Images of a batch of most arms; one that has more or fewer identities keeps its proportion."""
    workers: int = 0
    """Loader processes of a row that has a GPU; 0 as on a CPU, where a row is one process on one core."""

    @property
    def name(self) -> str:
        """For folders and files."""
        arm = re.sub(r"[^a-z0-9.]+", "-", self.arm.name.lower()).strip("-")
        visits = "" if self.visits == VISITS else f"-{self.visits:g}-visits"
        return f"{arm}-{self.seed}-{self.budget}{visits}"

    @property
    def result(self) -> Path:
        """The row's JSON file."""
        return self.out / self.table / f"{self.name}.json"

    @property
    def table(self) -> str:
        """The rows that share set, network, learning rate and batch."""
        network = "" if self.network == "small" else f"-{self.network}"
        lr = "" if self.lr == LR else f"-lr-{self.lr:g}"
        batch = "" if self.batch == P * K else f"-batch-{self.batch}"
        return f"{self.data}{network}{lr}{batch}"

    @property
    def images(self) -> int:
        """Of one of its own batches."""
        return self.identities * self.arm.K

    @property
    def identities(self) -> int:
        """Identities of one of its own batches."""
        return self.arm.P * self.batch // (P * K)

    @property
    def on_its_machine(self) -> tuple[str, ...]:
        """Settings that change no result: what feeds a GPU."""
        if not self.workers:
            return ()
        count = f"num_workers={self.workers}"
        return (
            f"train.{count}",
            f"extract.{count}",
            "extract.batch_size=1024",
            "train.save_every=1000000",
            "train.pictures_every=0",
        )

    @property
    def run(self) -> Path:
        """The folder of its run."""
        return WORK / ("pilots" if self.pilot else "runs") / self.table / self.name

    def of(self, arm: Arm, budget: Budget) -> Row:
        """The row of another arm or budget, all else equal."""
        return replace(self, arm=arm, budget=budget)

    def read(self) -> dict[str, Any]:
        """Its result; exits with one line where there is none."""
        if not self.result.exists():
            sys.exit(
                f"{self.result} is not there; first make the row of {self.arm.name}, equal {self.budget}"
            )
        return json.loads(self.result.read_text())

    def write(self, result: dict[str, Any]) -> None:
        """Keep its result."""
        self.result.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.result, json.dumps(result, indent=1) + "\n")

    @property
    def equal_steps(self) -> int:
        """As many as show every arm equally many images; the set must be written."""
        if self.pilot:
            return PILOT_STEPS * self.arm.rounds
        shown = self.visits * K * set_named(self.data).uncleaned.training_identities
        return round(shown / self.images)

    def pace(self) -> tuple[float, float]:
        """Seconds of mining, and of one step while nothing else delays it (the quickest quarter of the log's lines).

        The first call runs the pilot, on this machine, for a minute or two.
        """
        pilot = replace(self, pilot=True)
        kept = pilot.run.parent / f"{pilot.name}.json"
        if not kept.exists():
            peak = _run(pilot, pilot.equal_steps)
            write_text(kept, json.dumps(_facts(pilot, peak), indent=1) + "\n")
        logs = [path.read_text().splitlines() for path in pilot.run.glob("round-*/metrics.jsonl")]
        rates = [json.loads(line)["images_per_second"] for log in logs for line in log]
        return json.loads(kept.read_text())["mining_seconds"], self.images / np.quantile(rates, 0.75)

    def steps_in_time_of(self, reference: Row) -> int:
        """How many steps it makes, its mining included, in the time of the reference's equal steps."""
        its_mining, its_step = reference.pace()
        mining, step = self.pace()
        if abs(step / its_step - 1) < ONE_PACE:
            step = its_step
        return round((its_mining + its_step * reference.equal_steps - mining) / step)


def make_row(row: Row, steps: int, *, examined: bool = True) -> None:
    """Train and examine one row, and write its result."""
    facts = _facts(row, _run(row, steps))
    columns = examine(max(row.run.glob("round-*")) / "checkpoint", row.data) if examined else {}
    row.write({**facts, **columns})


def _run(row: Row, steps: int) -> int:
    """Train, from where it was killed; return the memory of the largest process, in bytes."""
    data = set_named(row.data)
    rounds = row.arm.rounds
    if not (row.run / "subspace.yaml").exists():
        settings = (
            *_for_set(row.arm.settings, data),
            f"seed={row.seed}",
            f"train.optimizer.lr={row.lr:g}",
            f"rounds={rounds}",
            f"plan.steps={round(steps / rounds)}",
        )
        _init(
            row.run,
            data.manifest,
            f"checkpoint:{_start(row)}",
            row.threads,
            *COMMON,
            *row.on_its_machine,
            *_cleaned(row),
            f"plan.P={row.identities}",
            f"plan.K={row.arm.K}",
            *settings,
        )
    for name in MEANS:
        there = row.run / "round-000" / name
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_means(row) / "round-000" / name, there)
    return _train(row, data)


def _for_set(settings: tuple[str, ...], data: GlyphSet | WordSet) -> list[str]:
    n = data.subspace
    return [setting.format(n=n, double_n=2 * n, half_n=n // 2, quarter_n=n // 4) for setting in settings]


def _train(row: Row, data: GlyphSet | WordSet) -> int:
    """Run all stages, those of a curriculum one by one; return the memory of the largest process, in bytes."""
    if not row.arm.by_round:
        return subspace("run", row.run, "--quiet", threads=row.threads)
    peaks = [subspace("pretrain", row.run, "--quiet", threads=row.threads)]
    for index, own in enumerate(_for_set(row.arm.by_round, data)):
        for stage in ("extract", "cluster", "plan", "train"):
            peaks.append(subspace(stage, row.run, own, "--round", str(index), "--quiet", threads=row.threads))
    return max(peaks)


def share_inputs(row: Row) -> None:
    """Make what all arms of a seed begin with, unless it is there: manifest, starting network, its means."""
    start, size, data = _start(row).parent.parent, row.arm.embedding_size, set_named(row.data)
    if not (start / "start" / "done" / "pretrain.json").exists():
        if not (start / "subspace.yaml").exists():
            settings = (*PRETRAIN, *data.preprocess, f"seed={row.seed}", f"embedding_size={size}")
            _init(start, data.begun_on.write(), NETWORKS[row.network], row.threads, *settings)
        subspace("pretrain", start, "--quiet", threads=row.threads)
    means, manifest = _means(row), data.write()
    if data.only == "cleaned" and not _keep(row).exists():
        share_inputs(_uncleaned(row))
        subspace("clean", _means(_uncleaned(row)), "--quiet", threads=row.threads)
    if not (means / "round-000" / "done" / "extract.json").exists():
        if not (means / "subspace.yaml").exists():
            settings = (*COMMON, *row.on_its_machine, *_cleaned(row), f"seed={row.seed}")
            _init(means, manifest, f"checkpoint:{_start(row)}", row.threads, *settings)
        subspace("pretrain", means, "--quiet", threads=row.threads)
        subspace("extract", means, "--quiet", threads=row.threads)


def _uncleaned(row: Row) -> Row:
    return replace(row, data=set_named(row.data).uncleaned.name)


def _keep(row: Row) -> Path:
    """What the starting network keeps of the set before it was cleaned."""
    return _means(_uncleaned(row)) / "round-000" / "keep.parquet"


def _cleaned(row: Row) -> list[str]:
    return [f"data.cleaned={_keep(row)}"] if set_named(row.data).only == "cleaned" else []


def _start(row: Row) -> Path:
    size, start = row.arm.embedding_size, set_named(row.data).start
    name = f"{start}-{row.seed}{'' if size == 128 else f'-D{size}'}"
    return WORK / row.network / name / "start" / "checkpoint"


def _means(row: Row) -> Path:
    size = row.arm.embedding_size
    return WORK / row.network / f"means-{row.data}-{row.seed}{'' if size == 128 else f'-D{size}'}"


def subspace(*arguments: str | Path, threads: int) -> int:
    """Run a command of the product; return the memory of its largest process, in bytes."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "subspace.pipeline.cli", *map(str, arguments)]
    here = Path(__file__).resolve().parent  # where networks.py is found
    with subprocess.Popen(command, env=environment, cwd=here, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[2:])} ended with {process.returncode}")
    return usage.ru_maxrss * 1024


def _init(run: Path, manifest: Path, model: str, threads: int, *settings: str) -> None:
    run.parent.mkdir(parents=True, exist_ok=True)
    subspace("init", run, "--manifest", manifest, "--model", model, *settings, threads=threads)


def _facts(row: Row, peak: int) -> dict[str, Any]:
    """What the markers of the run say, and what it ran on."""
    markers = [json.loads(path.read_text()) for path in sorted(row.run.glob("round-*/done/*.json"))]
    trained = [marker for marker in markers if marker["stage"] == "train"]
    stages = ("extract", "cluster", "plan") if row.arm.needs_means else ("plan",)
    mining = sum(marker["seconds"] for marker in markers if marker["stage"] in stages)
    training, steps = (
        sum(marker["seconds"] for marker in trained),
        sum(marker["summary"]["steps"] for marker in trained),
    )
    active = [marker["summary"]["active_fraction"] for marker in trained]
    on_gpu = [
        marker["summary"]["peak_gpu_bytes"] for marker in trained if "peak_gpu_bytes" in marker["summary"]
    ]
    bf16 = "" if PRECISION == "bf16-mixed" else ", no bf16"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = row.workers + 1 if row.workers else row.threads
    return {
        "data": title_of(row.data),
        "network": row.network,
        "lr": row.lr,
        "arm": row.arm.name,
        "kind": row.arm.kind,
        "seed": row.seed,
        "budget": row.budget,
        "settings": list(row.arm.settings),
        "rounds": row.arm.rounds,
        "steps": steps,
        "seconds": round(mining + training, 1),
        "mining_seconds": round(mining, 1),
        "images_per_second": round(steps * row.images / training, 1),
        "active_fraction": None if None in active else sum(active) / len(active),
        "peak_rss_bytes": peak,
        **({"peak_gpu_bytes": max(on_gpu)} if on_gpu else {}),
        "commit": _commit(),
        "precision": PRECISION,
        "hardware": f"{_processor()}, {cores} of {os.cpu_count()} cores, {gpu}{bf16}",
    }


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--abbrev=12", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"  # of a copy without its history


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()

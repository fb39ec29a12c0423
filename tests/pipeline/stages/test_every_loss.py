"""Every loss by its name trains the demo's network from one start: no NaN, and more identities found than before."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import DEMO, subspace

from subspace.train.losses import LOSSES

START = [
    "pretrain.steps=300",
    "pretrain.P=48",
    "pretrain.optimizer.lr=2e-3",
    "pretrain.optimizer.warmup_steps=50",
]
TRAIN = [
    "rounds=1", "cluster.ids_per_subspace=all", "plan.steps=250", "plan.P=40", "train.optimizer.warmup_steps=30",
    "eval.probes_per_identity=null", "eval.bootstrap=10",
]  # fmt: skip
FOR_A_SMALL_NETWORK = ("cosface", "arcface", "mv_softmax", "curricularface", "partial_fc", "subspace_softmax")
OWN = {
    **{name: [f"train.loss_args.{name}.scale=20"] for name in FOR_A_SMALL_NETWORK},
    "ohnm": ["plan.steps=800"],  # random negatives teach slowly
    "offline": ["plan.strategy=doppelganger", "plan.group_size=2"],
    "xbm:multi_similarity": ["train.loss_args.xbm.warmup_steps=50"],
    "xbm:batch_ohnm": ["train.loss_args.xbm.warmup_steps=50"],
}
NAMES = [
    *(name for name in LOSSES if name != "xbm"),
    "xbm:multi_similarity",
    "xbm:batch_ohnm",
    "batch_ohnm + 0.5*arcface",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that every loss begins with."""
    run = tmp_path_factory.mktemp("start") / "run"
    assert subspace("init", run, "--manifest", DEMO, *START).returncode == 0
    done = subspace("pretrain", run, "--quiet")
    assert done.returncode == 0, done.stderr
    return run / "start" / "checkpoint"


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_improves_rank_1(name: str, start: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = [*TRAIN, f"train.loss={name}", *OWN.get(name, [])]
    done = subspace("init", run, "--manifest", DEMO, "--model", f"checkpoint:{start}", *settings)
    assert done.returncode == 0, done.stderr
    done = subspace("run", run, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    before, after = (results[name]["metrics"]["Rank-1"]["value"] for name in ("start", "round-000"))
    print(f"{name}: Rank-1 {before:.3f} -> {after:.3f}")
    losses = [
        json.loads(line)["loss"] for line in (run / "round-000" / "metrics.jsonl").read_text().splitlines()
    ]
    assert len(losses) > 10
    assert all(math.isfinite(loss) for loss in losses)
    assert after > before + 0.02

"""When validation gains no more: against a slow count, and in runs that stop, continue and are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import QUICK, subspace
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from subspace.pipeline.configuration.early_stop import EarlyStopConfig, best_of, rounds_without_gain

values = st.lists(st.integers(0, 10).map(lambda tenths: tenths / 10), min_size=1, max_size=12)


def slow_rounds_without_gain(seen: list[float], min_delta: float) -> int:
    """Walk back from the end to the round that gained last, which is found anew for every beginning."""
    for index in range(len(seen) - 1, 0, -1):
        earlier = seen[:index]
        last = index - 1 - slow_rounds_without_gain(earlier, min_delta)
        if seen[index] > earlier[last] + min_delta:
            return len(seen) - 1 - index
    return len(seen) - 1


@given(values, st.sampled_from([0.0, 0.05, 0.25]))
def test_rounds_without_gain(seen: list[float], min_delta: float) -> None:
    assert rounds_without_gain(seen, min_delta) == slow_rounds_without_gain(seen, min_delta)


@given(values)
def test_best_is_the_first_of_the_highest_and_of_equal_ones_a_trained_one(seen: list[float]) -> None:
    highest = sorted(seen)[-1]
    assert best_of(seen) == (1 + seen[1:].index(highest) if highest in seen[1:] else 0)


def test_a_metric_of_which_less_is_better_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"less EER is better, .*; give TAR@FAR=1e-3"):
        EarlyStopConfig(metric="EER")


def test_patience() -> None:
    seen = [0.5, 0.6, 0.6, 0.55, 0.61]
    stops = EarlyStopConfig(patience=2).stops_after
    assert [stops(seen[:count]) for count in range(1, 6)] == [False, False, False, True, False]
    assert not EarlyStopConfig().stops_after([0.5] * 100)


HOPELESS = ("rounds=3", "early_stop.min_delta=0.9")
"""Nothing gains that much, so a run ends after as many rounds as it has patience."""


@pytest.fixture(scope="module")
def whole(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds without a stop."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, *HOPELESS).returncode == 0
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "stopped early" not in done.stdout
    return run


def results(run: Path) -> dict[str, bytes]:
    """Everything that is a function of settings and data; `meta.json` and `subspace.yaml` hold the patience."""
    names = ("model.safetensors", "optimizer.safetensors", "evaluation.json", "validation.json", "best.json")
    wanted = [path for path in run.rglob("*") if path.name in names or path.suffix == ".parquet"]
    return {str(path.relative_to(run)): path.read_bytes() for path in wanted}


@pytest.mark.slow
def test_it_stops_does_nothing_more_and_continues_with_more_patience(
    whole: Path, small_manifest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, *HOPELESS).returncode == 0
    for patience in (1, 1, 2):
        done = subspace("run", run, f"early_stop.patience={patience}")
        assert done.returncode == 0, done.stderr
        assert f"stopped early after {patience} of 3 rounds" in done.stdout
        rounds = sorted(path.name for path in run.glob("round-*"))
        assert rounds == [f"round-{index:03d}" for index in range(patience)]
        status = json.loads(subspace("status", run, f"early_stop.patience={patience}", "--json").stdout)
        assert {stage["state"] for stage in status} == {"done"}
        assert len(status) == 3 + 6 * patience
    before = results(run)
    assert subspace("run", run, "early_stop.patience=2").stdout.count("already done") == 3 + 6 * 2
    assert results(run) == before

    done = subspace("run", run, "early_stop.patience=null")  # to the end
    assert done.returncode == 0, done.stderr
    assert "stopped early" not in done.stdout
    assert results(run) == results(whole)

    shorter = subspace("run", run, "early_stop.patience=1")
    assert "round-001, round-002: of an earlier, longer run" in shorter.stdout
    assert list(json.loads((run / "best.json").read_text())["validations"]) == ["start", "round-000"]


@pytest.mark.slow
def test_killed_when_it_would_decide_it_decides_the_same(small_manifest: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for run in (whole, killed):
        settings = (*QUICK, *HOPELESS, "early_stop.patience=2")
        assert subspace("init", run, "--manifest", small_manifest, *settings).returncode == 0
    assert subspace("run", whole).returncode == 0
    kills = 0
    for pattern in (
        "start/validation.json",
        "best",
        "best.json",
        "round-000/checkpoint",
        "round-001/validation.json",
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "run", str(killed), "--quiet"]
        )
        while process.poll() is None and not list(killed.glob(pattern)):
            time.sleep(0.001)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 3
    done = subspace("run", killed)
    assert done.returncode == 0, done.stderr
    assert "stopped early after 2 of 3" in done.stdout
    assert results(killed) == results(whole)
    assert (killed / "best").readlink() == (whole / "best").readlink()
    assert not list(killed.rglob("*.tmp"))


def test_a_metric_that_cannot_be_had_is_refused(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, "pretrain.steps=1").returncode == 0
    unknown = subspace("run", run, "early_stop.metric=Rank-7")
    assert unknown.returncode == 2
    assert "choose from Rank-1, Rank-5, TAR@FAR=1e-2" in unknown.stderr
    assert not (run / "start").exists()
    assert subspace("run", run, "early_stop.metric=Rank-7", "validation.ks=[7]", "--dry-run").returncode == 0
    too_few = subspace("run", run, "early_stop.metric=TAR@FAR=1e-4")
    assert too_few.returncode == 2
    assert too_few.stderr.count("\n") == 1
    assert "6 validation identities" in too_few.stderr
    assert "choose from Rank-1, Rank-5" in too_few.stderr
    assert "validation.metrics" in unknown.stderr
    asked = ("validation.metrics=[mINP,mAP]", "eval.metrics=[coverage@P=0.9,mAP@R,Rank-3]", "rounds=1")
    done = subspace("run", run, "early_stop.metric=mAP", *asked, "--force")
    assert done.returncode == 0, done.stderr
    best = json.loads((run / "best.json").read_text())
    validated = json.loads((run / best["network"] / "validation.json").read_text())
    assert (best["metric"], best["value"]) == ("mAP", validated["metrics"]["mAP"]["value"])
    assert list(validated["metrics"]) == ["mINP", "mAP"]
    examined = json.loads((run / "round-000" / "evaluation.json").read_text())
    assert list(examined["metrics"]) == ["coverage@P=0.9", "mAP@R", "Rank-3"]
    queries = examined["retrieval"]["queries"]
    assert queries == examined["retrieval"]["gallery"] > examined["probes"]
    ranked = f"{queries} queries and {queries} gallery images: all images of each identity"
    assert f"; retrieval on 16 identities, {ranked}" in done.stdout
    assert "round-000/validate: on 6 identities, " in done.stdout
    assert "coverage@P=0.9" in done.stdout
    other = subspace("eval", run, *asked[:1], "eval.metrics=[Rank-3]")
    assert other.returncode == 3
    assert (
        "was made with eval.metrics=['coverage@P=0.9', 'mAP@R', 'Rank-3'], now it is ['Rank-3']"
        in other.stderr
    )

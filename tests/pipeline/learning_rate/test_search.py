"""`subspace lr` on real glyphs: a sane rate wins over absurd ones, killed searches go on, and who depends on what.

Covers pipeline/learning_rate/trial_training.py, pipeline/learning_rate/cost.py and pipeline/commands/learning_rate.py, too.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from conftest import DEMO, subspace
from running_processes import start, wait

from subspace.mining.errors import InputError
from subspace.pipeline import Context
from subspace.pipeline.configuration.overrides import keep_overrides, kept_overrides
from subspace.pipeline.faults.memory_advice import shortages_in_words
from subspace.pipeline.learning_rate import cost, trial_training
from subspace.pipeline.learning_rate.search import prepare, search_fields
from subspace.pipeline.learning_rate.trial_training import shortened, try_rate
from subspace.pipeline.run_directory import RunDirectory
from subspace.train.optimizer_config import OptimizerConfig

SETTINGS = [
    "pretrain.steps=8", "pretrain.P=8", "pretrain.K=2", "pretrain.num_workers=0", "extract.num_workers=0",
    "cluster.ids_per_subspace=24", "plan.steps=60", "plan.P=16", "plan.K=3", "train.num_workers=0",
    "train.optimizer.warmup_steps=2",
]  # fmt: skip
RATES = ["--rates", "1e-7,4e-3,10", "--steps", "40"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 glyph identities to train on and 24 to validate with, 6 images each."""
    table = pq.read_table(DEMO, columns=["identity", "uri", "image", "split", "group"])
    pieces = []
    for split, count in {"train": 64, "pretrain": 32, "val": 24}.items():
        rows = table.filter(pc.equal(table["split"].cast(pa.string()), split))
        for identity in rows["identity"].unique().to_pylist()[:count]:
            pieces.append(rows.filter(pc.equal(rows["identity"], identity)).slice(0, 6))
    folder = tmp_path_factory.mktemp("glyphs")
    pq.write_table(pa.concat_tables(pieces), folder / "source.parquet")
    done = subspace("ingest", folder / "source.parquet", "--out", folder / "m.parquet")
    assert done.returncode == 0, done.stderr
    return folder / "m.parquet"


@pytest.fixture(scope="module")
def searched(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run with one search, and what it printed as JSON. Tests must not write into it."""
    run = tmp_path_factory.mktemp("runs") / "searched"
    assert subspace("init", run, "--manifest", manifest, *SETTINGS).returncode == 0
    done = subspace("lr", run, *RATES, "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout)


@pytest.fixture
def copy(searched: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """The same run, to write into."""
    return Path(shutil.copytree(searched[0], tmp_path / "run"))


def trials_of(run: Path) -> list[dict[str, Any]]:
    """The trials of the newest search, without what a clock says."""
    (*_, newest) = json.loads((run / "lr" / "trials.json").read_text())["searches"]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in newest["trials"]]


def test_a_sane_rate_wins_over_absurd_ones(searched: tuple[Path, dict[str, Any]]) -> None:
    run, said = searched
    figures = {trial["rate"]: trial["metrics"]["Rank-1"]["value"] for trial in said["trials"]}
    assert said["lr"] == 0.004
    assert figures[0.004] > figures[1e-7] + 0.1
    assert figures[0.004] > figures[10.0] + 0.1
    assert said["gains_on_start"]
    assert figures[1e-7] == pytest.approx(said["start"]["Rank-1"]["value"], abs=0.1)
    assert {trial["steps"] for trial in said["trials"]} == {40}
    assert [trial["images"] for trial in said["trials"]] == [40 * 48] * 3
    assert said["seconds"] == pytest.approx(sum(trial["seconds"] for trial in said["trials"]), abs=0.01)
    assert not said["kept"]
    assert not (run / "overrides.json").exists()
    assert (run / "lr" / "lr.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_the_same_command_again_does_nothing_and_other_rates_join(copy: Path) -> None:
    before = trials_of(copy)
    again = subspace("lr", copy, *RATES)
    assert again.returncode == 0, again.stderr
    assert "cost: nothing" in again.stdout
    assert trials_of(copy) == before
    more = subspace("lr", copy, "--rates", "1e30", "--steps", "40")
    assert more.returncode == 0, more.stderr
    assert "1e+30: diverged at step" in more.stdout
    assert "best: 0.004" in more.stdout
    assert trials_of(copy)[:3] == before
    assert (trials_of(copy)[3]["state"], trials_of(copy)[3]["metrics"]) == ("diverged", {})
    alone = subspace("lr", copy, "--rates", "1e30", "--steps", "39")
    assert alone.returncode == 2
    assert re.fullmatch(r"subspace: no trial came through: .* give lower rates \(--rates\)\n", alone.stderr)


@pytest.mark.slow
def test_a_killed_search_goes_on_and_ends_as_if_it_had_not_been(copy: Path) -> None:
    whole = trials_of(copy)
    shutil.rmtree(copy / "lr")
    process = start("lr", copy, *RATES)
    file = copy / "lr" / "trials.json"
    wait(lambda: file.exists() and trials_of(copy))
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(trials_of(copy))
    assert 1 <= left < len(whole), "it was over before it was killed"
    done = subspace("lr", copy, *RATES)
    assert done.returncode == 0, done.stderr
    assert trials_of(copy) == whole
    assert f"cost: {len(whole) - left} trial" in done.stdout


def test_the_winner_is_kept_for_all_later_commands(copy: Path) -> None:
    done = subspace("lr", copy, *RATES, "--write")
    assert done.returncode == 0, done.stderr
    assert "kept for the next commands of this run: train.optimizer.lr=0.004" in done.stdout
    assert Context.open(copy).config.train.optimizer.lr == 0.004
    again = subspace("lr", copy, *RATES, "--write")  # the rate of the settings moves no trial
    assert "cost: nothing" in again.stdout
    assert "train.optimizer.lr is 0.004 already" in again.stdout
    status = subspace("status", copy)
    assert "learning rate: 0.004 is the best of 3 rates" in status.stdout
    assert "stale" not in status.stdout


def test_a_rate_that_does_not_surely_gain_is_not_kept(copy: Path) -> None:
    done = subspace("lr", copy, "--rates", "1e-7", "--steps", "2", "--write")
    assert done.returncode == 0, done.stderr
    assert "no rate surely gains on the start" in done.stdout
    assert not (copy / "overrides.json").exists()
    assert done.stdout.endswith(f"next: subspace lr {copy} --steps 4\n")


@pytest.mark.slow
def test_on_a_terminal_it_is_asked(copy: Path) -> None:
    for answer, kept in (("n", False), ("y", True)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "lr", copy, *RATES],
            stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said = ""
        while True:
            try:
                said += os.read(ours, 4096).decode(errors="replace")
            except OSError:  # the other end is closed
                break
        assert process.wait() == 0, said
        assert "keep 0.004 for this run?" in said
        assert (copy / "overrides.json").exists() == kept


def test_a_dry_run_lists_trials_and_their_cost_and_does_nothing(
    manifest: Path, copy: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    assert subspace("init", new, "--manifest", manifest, *SETTINGS).returncode == 0
    before = sorted(new.rglob("*"))
    done = subspace("lr", new, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "first start/pretrain, round-000/extract, round-000/cluster, round-000/plan" in done.stdout
    assert sorted(new.rglob("*")) == before
    trials = (copy / "lr" / "trials.json").read_bytes()
    done = subspace("lr", copy, "--dry-run")
    assert "rates 0.001, 0.004, 0.016, 0.064, 0.256, then two beside the best" in done.stdout
    assert "7 trials of 60 steps: 420 steps, about 20,160 images" in done.stdout
    assert (copy / "lr" / "trials.json").read_bytes() == trials


def test_a_dry_run_says_which_rate_the_tried_ones_lead_to(copy: Path) -> None:
    file = copy / "lr" / "trials.json"
    document = json.loads(file.read_text())
    newest = document["searches"][-1]
    template = newest["trials"][1]
    figures = {0.001: 0.5, 0.004: 0.6, 0.016: 0.9, 0.064: 0.7, 0.256: 0.6}
    newest["trials"], newest["best"] = [], None
    for rate, value in figures.items():
        metrics = template["metrics"] | {"Rank-1": {"value": value, "low": value, "high": value}}
        newest["trials"].append(template | {"rate": rate, "metrics": metrics})
    file.write_text(json.dumps(document))
    done = subspace("lr", copy, "--steps", "40", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0.256 are tried; next is 0.008, then perhaps others" in done.stdout
    assert "2 trials of 40 steps: 80 steps" in done.stdout
    assert "dry run: nothing was tried" in done.stdout


def test_a_rate_that_is_taken_back_makes_way_for_the_winner(copy: Path) -> None:
    run = RunDirectory(copy)
    keep_overrides(run, ["train.optimizer.lr=0.1"])
    done = subspace("lr", copy, *RATES, "~train.optimizer.lr", "--write")
    assert done.returncode == 0, done.stderr
    assert "cost: nothing" in done.stdout
    assert kept_overrides(run) == ["train.optimizer.lr=0.004"]


def test_trials_are_at_no_stage(copy: Path) -> None:
    """Of those before them the note would say how far they are."""
    context = Context.open(copy)
    with context.run.locked("lr"):
        context.run.note_stage("round-000/plan", 5.0)
        assert prepare(context, "lr")
        note, _ = context.run.activity()
    assert note is not None
    assert (note["command"], note["stage"], note["stage_since"], note["announced"]) == (
        "lr",
        None,
        None,
        None,
    )


def test_memory_that_an_examination_lacks_is_not_blamed_on_the_training(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(trial_training, "examine", hungry)
    monkeypatch.setattr(cost, "cost_of_examination", hungry)
    context = Context.open(copy)
    for examine in (
        lambda: trial_training.examine_on_validation(context, cast("Any", None)),
        lambda: cost.examining_seconds(context),
    ):
        with (
            pytest.raises(InputError, match=r"^validate: .*extract\.batch_size="),
            shortages_in_words("train", context.config),
        ):
            examine()


def test_what_a_trial_depends_on(copy: Path) -> None:
    def fields(*overrides: str, steps: int = 40) -> dict[str, Any]:
        return search_fields(Context.open(copy, overrides), steps)

    ours = fields()
    assert ours == fields(
        "train.optimizer.lr=0.5", "recluster.refresh=extract", "train.log_every=3", "eval.ks=[2]"
    )
    for other in (
        fields("train.loss=batch_ohnm"),
        fields("train.optimizer.weight_decay=0"),
        fields("train.collapse.window=7"),
        fields("validation.probes_per_identity=1"),
        fields("extract.precision=tf32"),
        fields(steps=41),
    ):
        assert other != ours
    plan = json.loads((copy / "round-000/done/plan.json").read_text())
    (copy / "round-000/done/plan.json").write_text(json.dumps({**plan, "fingerprint": "0" * 32}))
    assert fields() != ours


@pytest.mark.slow
def test_a_trial_trains_as_the_run_does(copy: Path) -> None:
    """A trial as long as the run has the weights of `subspace train`, hence its figures."""
    run = ["rounds=1", "plan.steps=20", "train.optimizer.lr=0.004", "train.augment.shift=2"]
    done = subspace("run", copy, *run, "--force")
    assert done.returncode == 0, done.stderr
    trial = try_rate(Context.open(copy), 0.004, 20)
    validation = json.loads((copy / "round-000" / "validation.json").read_text())
    assert trial.metrics == validation["metrics"]
    last = [json.loads(line) for line in (copy / "round-000" / "metrics.jsonl").read_text().splitlines()][-1]
    assert sum(loss for _, loss in trial.losses) / 20 == pytest.approx(last["loss"], rel=1e-6)


def test_a_collapse_is_a_row(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that makes one point of everything: batch OHNM rests at its margin."""
    from subspace.pipeline.stages import training
    from subspace.train.step_record import StepRecord

    real = training.train_steps

    def collapsing(*arguments: Any, **named: Any) -> Any:
        rest = arguments[0].loss.collapsed_value
        for record in real(*arguments, **named):
            apart = torch.tensor(1.0 if record.step < 5 else 1e-4)
            assert isinstance(record, StepRecord)
            yield dataclasses.replace(record, loss=torch.tensor(rest), distance=apart)

    monkeypatch.setattr(training, "train_steps", collapsing)
    context = Context.open(copy, ["train.loss=batch_ohnm", "train.collapse.window=5"])
    trial = try_rate(context, 0.004, 40)
    assert (trial.state, trial.steps, trial.metrics) == ("collapsed", 10, {})
    off = Context.open(
        copy, ["train.loss=batch_ohnm", "train.collapse.window=5", "train.collapse.action='off'"]
    )
    assert try_rate(off, 0.004, 40).state == "done"


def test_the_schedule_of_a_trial_spans_it() -> None:
    of_run = OptimizerConfig.model_validate(
        {"lr": 0.1, "warmup_steps": 100, "unfreeze": {"head_steps": 500, "block_steps": 3}}
    )
    trial = shortened(of_run, 200, 2000)
    assert (trial.warmup_steps, trial.unfreeze.head_steps, trial.unfreeze.block_steps) == (10, 50, 1)
    assert shortened(of_run, 2000, 2000) == of_run
    for_ever = of_run.model_copy(
        update={"unfreeze": of_run.unfreeze.model_copy(update={"head_steps": "all"})}
    )
    assert shortened(for_ever, 200, 2000).unfreeze.head_steps == "all"


def test_a_start_that_has_all_of_the_metric_is_refused_before_any_trial(copy: Path) -> None:
    trials = copy / "lr" / "trials.json"
    document = json.loads(trials.read_text())
    start = document["searches"][-1]["start"]
    start["Rank-1"].update(value=1.0, low=1.0, high=1.0)
    trials.write_text(json.dumps(document))
    done = subspace("lr", copy, "--steps", "40")
    assert done.returncode == 2
    below = ", ".join(name for name, found in start.items() if (found["value"] or 1) < 1)
    assert done.stderr == (
        "subspace: the start has Rank-1 100 % on validation, so no rate can gain on it; "
        f"set early_stop.metric to {below}\n"
    )
    assert len(trials_of(copy)) == 3


def test_another_metric_that_is_not_known_is_refused_before_any_trial(copy: Path) -> None:
    """The start was examined by an earlier search, and all its trials stand."""
    trials = copy / "lr" / "trials.json"
    document = json.loads(trials.read_text())
    start = document["searches"][-1]["start"]
    unknown = next(name for name in start if name != "Rank-1")
    start[unknown].update(value=None, low=None, high=None)
    trials.write_text(json.dumps(document))
    done = subspace("lr", copy, "--steps", "40", f"early_stop.metric={unknown}")
    assert done.returncode == 2
    assert f"early_stop.metric={unknown} is not known for so few validation identities" in done.stderr
    assert len(trials_of(copy)) == 3
    assert not (copy / "overrides.json").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["train.optimizer.lr=0.1"], r"train\.optimizer\.lr=0\.1: `subspace lr` tries rates by itself; .*--rates.*"),
    (["train={optimizer: {lr: 0.1}}"], r"train\.optimizer\.lr=0\.1: `subspace lr` tries rates by itself; .*--rates.*"),
    (["--rates", "1e-3,fast"], r"--rates 1e-3,fast: 'fast' is no learning rate; .*"),
    (["--steps", "61"], r"--steps 61: a trial takes 2 to 60, the batches of .*plan"),
    (["--steps", "12", "train.accumulate=8"], r"--steps 12: the network is updated every 8 batches .*, such as 16"),
    (["early_stop.metric=Rank-7"], r"early_stop\.metric=Rank-7 is not measured; .*"),
    (["data.val_splits=[nobody]"], r"rates are judged by validation identities, and there are none: .*--val-fraction 0\.05`"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(copy: Path, words: list[str], said: str) -> None:
    trials = (copy / "lr" / "trials.json").read_bytes()
    done = subspace("lr", copy, *words)
    assert done.returncode == 2
    assert re.fullmatch(f"subspace: {said}\n", done.stderr)
    assert (copy / "lr" / "trials.json").read_bytes() == trials
    assert not (copy / "overrides.json").exists()

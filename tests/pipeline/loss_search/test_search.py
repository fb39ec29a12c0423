"""`subspace search-loss` on glyphs: what it writes, that a killed one comes to the same, and that its curve trains.

Covers pipeline/loss_search/candidate.py, pipeline/loss_search/epoch.py and pipeline/commands/loss_search.py, too.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import subspace

from subspace.mining.errors import StaleArtifactError
from subspace.mining.randomness import derived_seed
from subspace.pipeline import Context
from subspace.pipeline.console import Console
from subspace.pipeline.loss_search import epoch as epoch_module
from subspace.pipeline.loss_search import search as search_module
from subspace.pipeline.loss_search.candidate import Candidacy
from subspace.pipeline.loss_search.epoch import Search
from subspace.pipeline.loss_search.record import Candidate, SearchRecord
from subspace.pipeline.loss_search.request import Request
from subspace.pipeline.loss_search.search import Found, search_fields, search_loss
from subspace.pipeline.options import Options
from subspace.train.loss_search.curve import read_curve
from subspace.train.loss_search.distribution import Outcome, draw, mean_after

OPTIONS = ["--epochs", "2", "--candidates", "2", "--steps", "2", "--bins", "3"]


@pytest.fixture(scope="module")
def searched(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run with a search, and what it printed as JSON. Tests must not write into it."""
    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("runs") / "run"))
    done = subspace("search-loss", run, *OPTIONS, "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout)


@pytest.fixture
def copy(searched: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """The same run, to write into."""
    return Path(shutil.copytree(searched[0], tmp_path / "run"))


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """What search.json says of every epoch, without clocks."""
    epochs = json.loads((run / "search-loss" / "search.json").read_text())["epochs"]
    for epoch in epochs:
        for candidate in epoch["candidates"]:
            del candidate["seconds"]
    return epochs


def test_a_search_is_what_reinforce_says(searched: tuple[Path, dict[str, Any]]) -> None:
    run, said = searched
    epochs = epochs_of(run)
    space = Request.checked(
        "am-lfs", bins=3, scale=16, epochs=2, candidates=2, steps=2, sigma=0.2, eta=0.05, learns=True
    ).space
    outcomes: list[Outcome] = []
    for number, done in enumerate(epochs):
        mean = mean_after(space.start, outcomes, 0.2, 0.05)
        assert said["means"][number] == mean.tolist()
        drawn = [draw(mean, 0.2, derived_seed(0, "loss search"), number, each).tolist() for each in range(2)]
        assert [candidate["theta"] for candidate in done["candidates"]] == drawn
        rewards = [candidate["reward"] for candidate in done["candidates"]]
        assert done["best"] == int(np.argmax(rewards))
        outcomes.append(Outcome(np.array(drawn), rewards))
    assert len(epochs) == 2
    found = read_curve(run / "search-loss" / "curve.json")
    assert found == space.curve(mean_after(space.start, outcomes, 0.2, 0.05))
    assert (run / "search-loss" / "curve.svg").read_text().startswith("<svg")
    assert (Path(said["files"][2]) / "model.safetensors").is_file()
    left = {path.name for path in (run / "search-loss").iterdir()}
    assert left == {"search.json", "curve.json", "curve.svg", "epoch-002"}


def test_the_same_command_again_trains_nothing_and_other_options_are_refused(copy: Path) -> None:
    before = epochs_of(copy)
    again = subspace("search-loss", copy, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert "all 2 epochs are done already" in again.stdout
    assert "cost: nothing" in again.stdout
    assert epochs_of(copy) == before
    other = subspace("search-loss", copy, *OPTIONS, "--sigma", "0.3")
    assert other.returncode == 3
    assert "with --sigma 0.2, now it is 0.3; set it back" in other.stderr
    assert f"or search again: `subspace search-loss {copy} --space=am-lfs --bins=3 " in other.stderr
    assert "--sigma=0.3 --eta=0.05 --steps=2 --force`" in other.stderr


def test_a_candidate_of_other_settings_is_none(copy: Path) -> None:
    """Killed in its first epoch, a search went on with candidates that had trained by another rate."""

    def candidacy(rate: float) -> Candidacy:
        context = Context.open(copy, [f"train.optimizer.lr={rate}"])
        request = Request.checked(
            "am-lfs", bins=3, scale=16, epochs=2, candidates=2, steps=2, sigma=0.2, eta=0.05, learns=True
        )
        record = SearchRecord(copy / "search-loss" / "search.json", search_fields(context, request, 2))
        return Search(context, request, 2, record).candidacies()[0]

    here = candidacy(0.1)
    here.folder.mkdir(parents=True)
    done = {"theta": here.theta.tolist(), "state": "done", "reward": 0.5, "seconds": 1.0}
    here.result.write_text(json.dumps({**done, "search": here.search}))
    found = here.read()
    assert found is not None
    assert found.reward == 0.5
    assert candidacy(0.2).read() is None
    here.result.write_text(json.dumps(done))  # before they said what they are of
    assert here.read() is None


@pytest.mark.slow
def test_a_dry_run_says_the_cost_and_writes_nothing(copy: Path) -> None:
    shutil.rmtree(copy / "search-loss")
    before = sorted(copy.rglob("*"))
    done = subspace("search-loss", copy, *OPTIONS, "--dry-run", "--space", "search-softmax")
    assert done.returncode == 0, done.stderr
    assert "search-softmax, 1 number" in done.stdout
    assert "8 steps" in done.stdout
    assert "of memory" in done.stdout
    assert sorted(copy.rglob("*")) == before


def test_what_a_search_depends_on(copy: Path) -> None:
    def fields(*overrides: str, **options: Any) -> dict[str, Any]:
        given = {
            "bins": 3,
            "scale": 16.0,
            "epochs": 2,
            "candidates": 2,
            "steps": 2,
            "sigma": 0.2,
            "eta": 0.05,
        }
        request = Request.checked("am-lfs", **{**given, "learns": True, **options})
        return search_fields(Context.open(copy, overrides), request, 2)

    ours = fields()
    assert ours == fields("train.loss=softmax", "train.log_every=3", "eval.ks=[2]")
    for other in (
        fields("train.optimizer.lr=0.5", "early_stop.metric=Rank-5"),
        fields(learns=False),
    ):
        assert other != ours


@pytest.mark.slow
def test_the_curve_trains_a_run_and_a_changed_one_is_stale(copy: Path) -> None:
    loss = f"train.loss=searched:{copy}/search-loss/curve.json"
    done = subspace("train", copy, "--round", "0", "--force", loss, "train.loss_args={}")
    assert done.returncode == 0, done.stderr
    again = subspace("train", copy, "--round", "0")
    assert "already done" in again.stdout, again.stderr
    file = copy / "search-loss" / "curve.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "a": -1.0}))
    changed = subspace("train", copy, "--round", "0")
    assert changed.returncode == 3
    assert "train.loss.curve=" in changed.stderr


@pytest.mark.parametrize(
    ("changed", "overrides", "said"),
    [
        ({"epochs": 3}, (), "--epochs 2, now it is 3"),
        ({"steps": 3}, (), "--steps 2, now it is 3"),
        ({"learns": False}, (), "--random not set, now it is given"),
        ({}, ("train.optimizer.warmup_steps=4",), "train.optimizer.warmup_steps=2, now it is 1"),
    ],
)
def test_what_is_otherwise_is_named_as_it_was_given(
    finished_run: Path, tmp_path: Path, changed: dict[str, Any], overrides: tuple[str, ...], said: str
) -> None:
    """The warm-up follows the steps, and was blamed for them."""
    options = {"bins": 3, "scale": 16.0, "epochs": 2, "candidates": 2, "steps": 2, "sigma": 0.2, "eta": 0.05}
    file = tmp_path / "search.json"

    def fields(*given: str, **more: Any) -> dict[str, Any]:
        request = Request.checked("am-lfs", **{**options, "learns": True, **more})
        context = Context.open(finished_run, ["train.optimizer.warmup_steps=8", *given])
        return search_fields(context, request, request.steps_of(8))

    SearchRecord.open(file, fields(), "again").add([Candidate([0.1], "done", 0.5, 1.0)])
    with pytest.raises(StaleArtifactError) as refused:
        SearchRecord.open(file, fields(*overrides, **changed), "again")
    assert f"is of a search with {said}; set it back" in str(refused.value)


class _KilledError(Exception):
    """Nobody catches it, as nobody catches SIGKILL."""


def test_a_killed_search_goes_on_and_ends_as_if_it_had_not_been(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in the middle of every candidate in turn, and just before every epoch is kept."""
    folder, real, trained = copy / "search-loss", epoch_module.train_candidate, 0
    keep = SearchRecord.add
    request = Request.checked(
        "am-lfs", bins=3, scale=16, epochs=2, candidates=2, steps=2, sigma=0.2, eta=0.05, learns=True
    )  # fmt: skip

    def search() -> Found | None:
        return search_loss(Context.open(copy, options=Options(Console(quiet=True))), request, [], None)

    def results() -> dict[str, bytes]:
        files = (*folder.glob("epoch-*/*/checkpoint/*.safetensors"), *folder.glob("curve.*"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    monkeypatch.setattr(search_module, "_announce", lambda search: None)  # its timings take longest
    shutil.rmtree(folder)
    search()
    whole, epochs = results(), epochs_of(copy)
    shutil.rmtree(folder)
    killed: set[Any] = set()

    def train(context: Context, candidacy: Any) -> Any:
        nonlocal trained
        if candidacy.folder not in killed:
            killed.add(candidacy.folder)
            (candidacy.folder / "checkpoint").mkdir(parents=True)
            raise _KilledError
        trained += 1
        return real(context, candidacy)

    def add(record: SearchRecord, candidates: list[Any]) -> Any:
        if len(record.epochs) not in killed:
            killed.add(len(record.epochs))
            raise _KilledError
        return keep(record, candidates)

    monkeypatch.setattr(epoch_module, "train_candidate", train)
    monkeypatch.setattr(SearchRecord, "add", add)
    for _ in range(6):
        with pytest.raises(_KilledError):
            search()
    found = search()
    assert found is not None
    assert trained == 4
    assert results() == whole
    assert epochs_of(copy) == epochs


@pytest.mark.slow
def test_candidates_in_processes_come_to_the_same(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums depend on the number of threads
    results = []
    for processes in ("1", "2"):
        done = subspace("search-loss", copy, *OPTIONS, "--force", "--device", "cpu", "--processes", processes)
        assert done.returncode == 0, done.stderr
        results.append(epochs_of(copy))
    assert results[0] == results[1]


@pytest.mark.slow
def test_draws_without_learning(copy: Path) -> None:
    for space in ("am-lfs", "search-softmax"):
        done = subspace("search-loss", copy, *OPTIONS, "--force", "--random", "--space", space, "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["means"][0] == said["means"][1] == said["means"][2]
        best = said["epochs"][-1]["candidates"][said["epochs"][-1]["best"]]
        assert json.loads((copy / "search-loss" / "curve.json").read_text())["theta"] == best["theta"]


@pytest.mark.parametrize(("words", "said"), [
    (["--space", "softmax"], "--space softmax is unknown; choose from am-lfs, search-softmax"),
    (["--shard", "0"], "--shard is for the processes"),
    (["data.val_splits=[nobody]"], "losses are judged by validation identities, and there are none"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    searched: tuple[Path, Any], words: list[str], said: str
) -> None:
    done = subspace("search-loss", searched[0], *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr

"""The table of stages is all that knows them: a stage is added by its file, its settings and its row, and removed so.

Covers pipeline/stages/stage.py and pipeline/stages/context.py as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import house
import numpy as np
import pytest
from conftest import QUICK, subspace

from subspace.mining import InputError, StaleArtifactError
from subspace.mining.artifacts import remove, write_json
from subspace.mining.fingerprints import CODE_VERSION
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stage_folder import StageFolder
from subspace.pipeline.stages import cluster, graph, plan
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.extraction import Extraction
from subspace.pipeline.stages.graph import row
from subspace.pipeline.stages.stage import Stage, run_stage
from subspace.train.checkpoint_meta import CheckpointMeta

CENSUS = '''"""`subspace census`: how many images the identities of each subspace have."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...mining.artifacts import write_json
from .context import Context
from .graph import row
from .round_tables import read_identities, read_subspaces
from .stage import flat_fields, run_stage


def census_fields(context: Context) -> dict[str, Any]:
    """What the census depends on, besides the subspaces."""
    return flat_fields("census", context.config.census.model_dump())


def take_census(context: Context) -> dict[str, Any]:
    """Count the images of each subspace."""
    stage = row("census").stage(context)

    def work() -> dict[str, Any]:
        images = read_identities(context.folder, ["images"])["images"].to_numpy()
        counts = np.bincount(read_subspaces(context.folder), images)
        write_json(stage.folder.file("census.json"), counts[counts >= context.config.census.least].tolist())
        return {"subspaces": len(counts)}

    return run_stage(stage, context.options, lambda: "a moment", work)
'''
ROW = """    StageRow(
        name="census",
        place="round",
        module="census",
        work="take_census",
        inputs={"subspaces": "cluster"},
        sections=("census",),
        outputs=("census.json",),
        help="Count the images of each subspace.",
        example="census.least=2",
    ),
"""
SETTINGS = '''class CensusConfig(Settings):
    """Counting images."""

    least: int = Field(default=0, ge=0, description="leave out subspaces with fewer images")


class RunConfig(Settings):'''


def with_census(packages: Path) -> set[str]:
    """Add the stage to a copy of the packages; return the files that were touched."""
    stages, config = packages / "pipeline" / "stages", packages / "pipeline" / "configuration" / "config.py"
    (stages / "census.py").write_text(CENSUS)
    table = (stages / "graph.py").read_text()
    plan = '    StageRow(\n        name="plan",'
    assert table.count(plan) == 1
    (stages / "graph.py").write_text(table.replace(plan, ROW + plan))
    text = config.read_text().replace("class RunConfig(Settings):", SETTINGS)
    plan = "    plan: PlanConfig ="
    assert text.count(plan) == 1
    config.write_text(
        text.replace(plan, f"    census: CensusConfig = Field(default_factory=CensusConfig)\n{plan}")
    )
    return {
        str(path.relative_to(packages))
        for path in packages.rglob("*.py")
        if not (house.REPOSITORY / path.relative_to(packages)).exists()
        or path.read_text() != (house.REPOSITORY / path.relative_to(packages)).read_text()
    }


@pytest.mark.slow
def test_a_stage_is_added_in_three_files_and_removed(small_manifest: Path, tmp_path: Path) -> None:
    packages = tmp_path / "path" / "subspace"
    for package in house.PACKAGES:
        shutil.copytree(house.REPOSITORY / package, packages / package)
    assert with_census(packages) == {
        "pipeline/stages/census.py",
        "pipeline/stages/graph.py",
        "pipeline/configuration/config.py",
    }
    run = tmp_path / "run"

    def censused(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(packages.parent)}
        command = [sys.executable, "-P", "-m", "subspace.pipeline.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done

    censused("init", str(run), "--manifest", str(small_manifest), *QUICK, "rounds=1")
    assert "census:" in (run / "subspace.yaml").read_text()
    assert "Example: subspace census runs/photos census.least=2" in censused("census", "--help").stdout
    assert "### sbatch --dependency=afterok:<round-000-cluster> round-000-census.sh" in (
        censused("submit", str(run), "--dry-run", "--scheduler", "slurm").stdout
    )
    censused("run", str(run), "--quiet")
    assert sum(json.loads((run / "round-000" / "census.json").read_text())) == 48 * 6
    states = json.loads(censused("status", str(run), "--json").stdout)
    assert [state["stage"] for state in states if state["folder"] == "round-000"] == [
        "extract", "cluster", "census", "plan", "train", "validate", "eval",
    ]  # fmt: skip
    assert {state["state"] for state in states} == {"done"}
    assert "already done" in censused("census", str(run), "census.least=0").stdout

    # The stage goes: its settings are unknown then, and all else is as it was.
    lines = (run / "subspace.yaml").read_text().splitlines()
    at = lines.index("census:")
    (run / "subspace.yaml").write_text("\n".join([*lines[: at - 1], *lines[at + 2 :]]) + "\n")
    states = json.loads(subspace("status", run, "--json").stdout)
    assert "census" not in [state["stage"] for state in states]
    assert {state["state"] for state in states} == {"done"}


def test_every_stage_has_what_its_row_says(finished_run: Path) -> None:
    context = Context.open(finished_run)
    for stage in graph.STAGES:
        index = -1 if stage.place == "start" else 0
        made = stage.stage(context.at_round(index))
        assert made.is_done(), stage.name
        assert made.folder.file(made.outputs[0]).exists()
        record = made.folder.record(stage.name)
        named = {*stage.inputs, "code", "round", "manifest"}
        for field in {*record["fields"]} - named:
            sections = [section for section in stage.sections if f"{field}.".startswith(f"{section}.")]
            assert sections, f"{stage.name} depends on {field}, which its row does not say"
        for source in stage.inputs.values():
            known = [other.name for other in graph.STAGES[: graph.STAGES.index(stage)]]
            assert source in (graph.MANIFEST, graph.NETWORK_BEFORE, graph.NETWORK_HERE, *known)


@pytest.fixture
def stopped_run(finished_run: Path, tmp_path: Path) -> Path:
    """As if the pretraining had been stopped by a signal after its eighth step."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "start" / "done" / "pretrain.json").unlink()
    (run / "start" / "resume").mkdir(exist_ok=True)
    (run / "start" / "checkpoint").rename(run / "start" / "resume" / "step-00000008")
    return run


def say_otherwise(run: Path, **changed: object) -> None:
    """Change what the state of a stopped run says of itself."""
    path = run / "start" / "resume" / "step-00000008" / "meta.json"
    path.write_text(CheckpointMeta(**{**json.loads(path.read_text()), **changed}).to_json())


def pretrain_of(run: Path, *settings: str) -> Stage:
    return row("pretrain").stage(Context.open(run, settings).at_round(-1))


def test_what_a_stopped_training_has_saved_is_not_dropped_unasked(stopped_run: Path) -> None:
    """It was, with exit 0, once a setting had changed."""
    changed, start = "pretrain.optimizer.lr=0.125", stopped_run / "start"
    metrics = (start / "metrics.jsonl").read_text()
    for words in (
        ("pretrain", stopped_run, "--dry-run"),
        ("pretrain", stopped_run, "--processes", "2"),
        ("submit", stopped_run, "--dry-run", "--scheduler", "local"),
    ):
        done = subspace(*words, changed)
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith(
            f"subspace: 8 steps of start/pretrain are saved in {start}, made with pretrain.optimizer.lr=0.001, now it is 0.125; "
            f"to go on, set it back; to begin anew, `subspace pretrain {stopped_run} {changed} "
        )
        assert "--no-resume`, or `subspace run " in done.stderr
        assert done.stderr.count("\n") == 1
    assert (start / "resume" / "step-00000008" / "meta.json").exists()
    assert (start / "metrics.jsonl").read_text() == metrics

    assert pretrain_of(stopped_run).needs_work(Options())
    assert not pretrain_of(stopped_run).begins_anew(Options())


def test_status_counts_no_steps_that_were_saved_with_other_settings(stopped_run: Path) -> None:
    config = stopped_run / "subspace.yaml"
    config.write_text(config.read_text().replace("steps: 8 ", "steps: 9 ", 1))
    states = json.loads(subspace("status", stopped_run, "--json").stdout)
    assert [states[0][key] for key in ("stage", "state", "note")] == [
        "pretrain", "stale", "8 steps saved, pretrain.steps: 8, now 9",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [Options(resume=False), Options(remake_stale=True), Options(force=True)])
def test_what_is_saved_of_other_settings_is_dropped_by_an_option(stopped_run: Path, options: Options) -> None:
    stage = pretrain_of(stopped_run, "seed=3")
    assert stage.needs_work(options)
    assert stage.begins_anew(options)


def test_a_dry_run_drops_what_is_saved_as_the_run_does(stopped_run: Path) -> None:
    """It refused what the same command without --dry-run does."""
    for made in (
        *stopped_run.glob("round-*"),
        stopped_run / "start" / "done",
        stopped_run / "start" / "validation.json",
    ):
        remove(made)
    refused = subspace("run", stopped_run, "seed=3", "--dry-run")
    assert (refused.returncode, "--no-resume" in refused.stderr) == (3, True)
    dropped = subspace("run", stopped_run, "seed=3", "--dry-run", "--no-resume")
    assert dropped.returncode == 0, dropped.stderr
    assert "stale, so made again with all that is made of it: start/pretrain\n" in dropped.stdout


def test_a_refusal_names_only_a_network_that_is_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stage = Stage(
        "plan",
        StageFolder(run / "round-000", 0),
        {"manifest": "b"},
        ("made",),
        "subspace plan",
        "subspace run",
    )
    for name in ("made", "checkpoint"):
        write_json(stage.folder.file(name), {})
    for name in ("train", "plan"):
        marker = {
            "stage": name,
            "fingerprint": "of a",
            "fields": {"manifest": "a"},
            "files": {},
            "summary": {"steps": 1, "loss": 1.0},
            "seconds": 1.0,
            "finished": "",
        }
        write_json(stage.folder.marker(name), marker)
    with pytest.raises(StaleArtifactError, match=f"--model checkpoint:{stage.folder.checkpoint}"):
        stage.is_done()
    stage.folder.marker("train").unlink()
    with pytest.raises(StaleArtifactError, match=r"where they were$"):
        stage.is_done()


@pytest.mark.parametrize("config", [{}, {"model": "of another age"}])
def test_a_state_that_does_not_say_its_settings_is_refused_without_their_names(
    stopped_run: Path, config: dict[str, object]
) -> None:
    say_otherwise(stopped_run, fingerprint="another", config=config)
    with pytest.raises(
        StaleArtifactError, match="made with other settings or inputs; to go on, set them back; to"
    ):
        pretrain_of(stopped_run).is_done()


def test_no_step_is_lost_with_a_state_before_the_first(stopped_run: Path) -> None:
    say_otherwise(stopped_run, step=0)
    stage = pretrain_of(stopped_run, "seed=3")
    assert not stage.is_done()
    assert stage.begins_anew(Options())


def test_a_damaged_state_is_left_to_the_training(stopped_run: Path) -> None:
    (stopped_run / "start" / "resume" / "step-00000008" / "meta.json").write_text("{")
    stage = pretrain_of(stopped_run, "seed=3")
    assert not stage.is_done()
    assert not stage.begins_anew(Options())
    done = subspace("pretrain", stopped_run, "seed=3")
    assert done.returncode == 3
    assert "meta.json is damaged" in done.stderr


def test_what_another_version_made_names_the_version(finished_run: Path, tmp_path: Path) -> None:
    """`code` was named like a setting that can be set back."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    marker = run / "start" / "done" / "pretrain.json"
    values = json.loads(marker.read_text())
    fields = {**values["fields"], "code": "0.0.9"}
    del fields["pretrain.K"]  # a setting that has come since
    marker.write_text(json.dumps({**values, "fields": fields, "fingerprint": "another"}))
    by = rf"made by subspace-mining 0\.0\.9, this is {re.escape(CODE_VERSION)}; "
    with pytest.raises(
        StaleArtifactError, match=rf"start/checkpoint was {by}install that version, or remake it: `"
    ) as error:
        pretrain_of(run).is_done()
    assert error.value.change == f"version: 0.0.9, now {CODE_VERSION}"
    marker.unlink()
    (run / "start" / "resume").mkdir(exist_ok=True)
    (run / "start" / "checkpoint").rename(run / "start" / "resume" / "step-00000008")
    say_otherwise(run, created_by="subspace-mining 0.0.9", fingerprint="another")
    with pytest.raises(
        StaleArtifactError, match=rf"are saved in .*start, {by}to go on, install that version; to begin"
    ):
        pretrain_of(run).is_done()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_stage_writes_nothing_to_the_old_place_of_a_run_that_was_moved(
    tmp_path: Path, replaced: bool
) -> None:
    """It wrote its files and its marker into a new folder there, and ended well."""
    run, moved = tmp_path / "run", tmp_path / "moved"
    stage = Stage("plan", StageFolder(run / "round-000", 0), {}, ("made",), "subspace plan", "subspace run")

    def move() -> dict[str, Any]:
        run.rename(moved)
        if replaced:
            run.mkdir()
        return {}

    def move_and_write() -> dict[str, Any]:
        move()
        write_json(stage.folder.file("made"), {})
        return {}

    for work in (move, move_and_write):
        run.mkdir(exist_ok=True)
        with pytest.raises(
            InputError, match=rf"^{run} was moved, removed or replaced while this command worked"
        ):
            run_stage(stage, Options(Console(quiet=True)), lambda: "a moment", work)
        assert [*moved.iterdir()] == []
        assert not run.exists() or (replaced and [*run.iterdir()] == [])
        moved.rmdir()


def test_no_file_but_two_spells_a_file_of_a_run() -> None:
    from subspace.pipeline import stage_folder

    names = [value for name, value in vars(stage_folder).items() if name.isupper() and "." in str(value)]
    assert len(names) > 8
    folder = house.REPOSITORY / "pipeline"
    for path in set(folder.rglob("*.py")) - {folder / "stage_folder.py", folder / "run_directory.py"}:
        assert not [name for name in names if f'"{name}"' in path.read_text()], path


@pytest.mark.parametrize("place", ["start", "round", "network"])
def test_places(place: graph.Place) -> None:
    works = {stage.place for stage in graph.STAGES if stage.works_in(-1)}
    assert (place in works) == (place != "round")
    works = {stage.place for stage in graph.STAGES if stage.works_in(3)}
    assert (place in works) == (place != "start")


@pytest.mark.parametrize(("stage", "work"), [(cluster, cluster.cluster_means), (plan, plan.plan_round)])
def test_the_memory_that_is_announced_grows_with_the_identities(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, stage: ModuleType, work: Callable[..., Any]
) -> None:
    context, said, real = Context.open(finished_run), [], stage.MeanTable

    def announce(_: object, __: object, estimate: Callable[[], object], *___: object) -> dict[str, Any]:
        said.append(str(estimate()))
        return {}

    monkeypatch.setattr(stage, "run_stage", announce)
    monkeypatch.setattr(stage, "row_seconds", lambda *_: 1e-6)
    for more in (0, 10**6):
        table = real(context.folder.identities)
        large = SimpleNamespace(
            shape=(len(table) + more, table.shape[1]),
            nbytes=table.nbytes + 512 * more,
            group_bytes=table.group_bytes + 512 * more,
        )
        monkeypatch.setattr(stage, "MeanTable", lambda *_, large=large: large)
        work(context)
    few, many = (re.search(r"([\d.]+ [MG]B) of memory", words) for words in said)
    assert few
    assert many
    assert few[1] != many[1]


def test_an_extraction_announces_more_for_more_identities(finished_run: Path) -> None:
    extraction = Extraction(Context.open(finished_run), row("extract").stage(Context.open(finished_run)))
    assert " of memory, " in str(extraction.estimate())
    before, identities = extraction._bytes(), extraction.identities
    extraction.identities = identities.where(np.arange(len(identities)) < 2)
    assert extraction._bytes() < before


def test_what_a_stage_reads_is_found_as_fast_in_the_fiftieth_round(finished_run: Path) -> None:
    """Its own round and the network before it are looked at, not every round before: that took minutes, doubled by each."""
    late = Context.open(finished_run, []).at_round(50)
    asked: list[int] = []
    maker = graph.StageRow._maker
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            graph.StageRow,
            "_maker",
            lambda self, context, source: (asked.append(context.round_index), maker(self, context, source))[
                1
            ],
        )
        for stage in graph.STAGES:
            if stage.place != "start":
                assert len(list(stage.reads(late))) <= 12
    assert set(asked) <= {49, 50}
    assert len(asked) <= 100


@pytest.mark.parametrize(("known", "least", "most"), [(50.0, 50.0, 50.0), (None, 0.0, 20.0)])
def test_a_marker_has_the_time_of_all_commands_that_had_a_part_in_it(
    known: float | None, least: float, most: float, tmp_path: Path
) -> None:
    folder = StageFolder(tmp_path / "round-000", 0)
    folder.path.mkdir()
    (folder.path / "made").write_text("it")
    own = Stage("plan", folder, {}, ("made",), "subspace plan", "subspace run")
    summary = {"batches": 3, "seconds": known}
    marker = run_stage(own, Options(Console(quiet=True)), lambda: "a moment", lambda: summary)
    assert least <= marker["seconds"] <= most
    assert folder.record("plan")["seconds"] == marker["seconds"]

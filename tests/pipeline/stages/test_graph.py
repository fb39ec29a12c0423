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

from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stage_folder import StageFolder
from subspace.pipeline.stages import cluster, graph, plan
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.extraction import Extraction
from subspace.pipeline.stages.graph import row
from subspace.pipeline.stages.stage import Stage, run_stage

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

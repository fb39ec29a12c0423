"""Recipes: they parse, their figures are those of the stored results, and each runs ten steps."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest
from conftest import REPOSITORY, subspace

from subspace.mining import InputError
from subspace.pipeline.configuration.config_file import load_config, parse_config
from subspace.pipeline.new_run.known_recipes import COLUMNS, load_recipe, recipe_names

NAMES = ("default", "doppelganger", "facenet", "graph", "paper", "partial_fc", "random")
TEN_STEPS = [
    "rounds=1", "plan.steps=10", "pretrain.steps=10", "pretrain.P=8", "pretrain.K=2", "pretrain.num_workers=0",
    "extract.num_workers=0", "train.num_workers=0", "train.optimizer.warmup_steps=2", "eval.bootstrap=20",
]  # fmt: skip


def test_names() -> None:
    assert tuple(recipe_names()) == NAMES
    with pytest.raises(InputError, match=r"there are default, .*; did you mean 'partial_fc'\?") as error:
        load_recipe("partialfc")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_stored_results(name: str) -> None:
    measured = load_recipe(name).measured
    assert measured is not None
    folder = "100k" if measured.lr == 0.016 else f"100k-lr-{measured.lr:g}"
    rows = [
        json.loads(path.read_text())
        for path in (REPOSITORY / "benchmarks" / "quality" / "results" / folder).glob("*-steps.json")
    ]
    rows = [row for row in rows if row["arm"] == measured.arm]
    assert len(rows) == measured.seeds
    assert {row["lr"] for row in rows} == {measured.lr}
    stored = {key: round(100 * mean(row[key] for row in rows), 1) for key in COLUMNS}
    assert measured.percent == pytest.approx(stored, abs=0.051)


def test_the_default_is_the_default() -> None:
    assert load_recipe("default").settings == {}


def test_the_paper_to_the_letter() -> None:
    config = parse_config({"manifest": "m", **load_recipe("paper").settings}, [], "test")
    assert config.cluster.ids_per_subspace == 10_000
    assert config.cluster.balance == "none"
    assert config.plan.draw == (1, 0)
    assert config.plan.order == "sequential"
    assert config.train.loss == "batch_ohnm"
    assert config.recluster.refresh == "extract"
    assert config.extract.max_images is None


@pytest.mark.parametrize(
    "name",
    [name if name in ("default", "paper") else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_ten_steps(name: str, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = subspace("init", run, "--manifest", small_manifest, "--recipe", name, *TEN_STEPS)
    assert done.returncode == 0, done.stderr
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "Rank-1" in done.stdout
    assert load_config(run / "subspace.yaml").total_steps == 10


def test_the_list() -> None:
    said = subspace("init", "--list-recipes").stdout
    for name in NAMES:
        assert f"recipe {name}: " in said
    assert "Schroff" in said
    table = said[said.index("recipe  ") :].splitlines()
    assert table[2].split() == ["default", "0.016", "3", "96.3", "88.4", "98.3", "92.5", "64.3"]
    assert len(table) == 2 + len(NAMES)

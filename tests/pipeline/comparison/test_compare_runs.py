"""Runs side by side: made-up ones whose figures are known, and a real one beside a copy that is half done.
Covers pipeline/comparison/compared_run.py, pipeline/comparison/comparability.py, pipeline/comparison/figures_table.py,
pipeline/comparison/differing_settings.py and pipeline/comparison/plot.py, too.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import examine, made_up_run, train

from subspace.mining.errors import InputError
from subspace.pipeline.comparison.comparability import are_comparable, differing_bases, in_words
from subspace.pipeline.comparison.compare_runs import show_comparison
from subspace.pipeline.comparison.compared_run import ComparedRun, Network
from subspace.pipeline.comparison.figures_table import figures_rows
from subspace.pipeline.comparison.plot import MISSING, chosen_figure, draw_comparison
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.run_directory import RunDirectory


def made_up(values: list[float], fields: dict[str, Any], best: str = "round-000") -> ComparedRun:
    networks = []
    for number, value in enumerate(values):
        figures = {
            "metrics": {"Rank-1": {"value": value, "low": value - 0.02, "high": value + 0.02}},
            "identities": 9,
        }
        name = "start" if number == 0 else f"round-{number - 1:03d}"
        networks.append(Network(name, 10 * number, 80 * number, {"test": figures}, {"test": fields}))
    return ComparedRun(Path("x"), RunConfig(manifest="m.parquet"), networks, best, 1.0)


FIELDS = {"manifest": "m", "seed": 0, "network": "n", "eval.bootstrap": 20, "eval.distractors": 5}


def test_figures_stand_beside_each_other_with_whether_intervals_overlap() -> None:
    runs = {
        "a": made_up([0.5, 0.9, 0.8], FIELDS),
        "b": made_up([0.5, 0.93], FIELDS),
        "c": made_up([0.5], FIELDS),
    }
    assert figures_rows(runs, "test", True) == [
        ["metric", "network", "a", "b", "c", "95 % intervals"],
        ["Rank-1", "start", *["50.0 [48.0, 52.0]"] * 3, "overlap"],
        ["", "best", "90.0 [88.0, 92.0]", "93.0 [91.0, 95.0]", "not yet", "overlap"],
        ["", "last", "80.0 [78.0, 82.0]", "93.0 [91.0, 95.0]", "not yet", "apart"],
    ]


def test_a_metric_that_was_not_asked_for_is_not_waited_for() -> None:
    """It said "not yet" of what no evaluation would ever give."""
    runs = {"a": made_up([0.5, 0.9], FIELDS), "b": made_up([0.5], FIELDS)}
    for network in runs["b"].networks:
        metrics = network.figures["test"]["metrics"]
        metrics["EER"] = metrics.pop("Rank-1")
    rows = [row[:4] for row in figures_rows(runs, "test", False)]
    assert rows == [
        ["metric", "network", "a", "b"],
        ["Rank-1", "start", "50.0 [48.0, 52.0]", "not asked for"],
        ["", "best", "90.0 [88.0, 92.0]", "not yet"],
        ["", "last", "90.0 [88.0, 92.0]", "not yet"],
        ["EER", "start", "not asked for", "50.0 [48.0, 52.0]"],
    ]


@pytest.mark.parametrize(
    ("change", "differing", "comparable"),
    [
        ({"network": "other", "eval.bootstrap": 200, "eval.ks": [1]}, [], True),
        ({"seed": 1}, ["seed"], True),
        ({"manifest": "other"}, ["manifest"], False),
        ({"data.test_splits": ["other"]}, ["data.test_splits"], False),
        ({"eval.distractors": 6, "seed": 1}, ["seed", "eval.distractors"], False),
    ],
)
def test_figures_of_other_images_are_not_comparable(
    change: dict[str, Any], differing: list[str], comparable: bool
) -> None:
    runs = [made_up([0.5, 0.9], FIELDS), made_up([0.5, 0.9], FIELDS | change)]
    assert differing_bases(runs, "test") == differing
    assert are_comparable(differing) == comparable
    assert ("not comparable" in in_words("test", differing)) != comparable


@pytest.mark.parametrize("anew", [0, 1])
def test_an_evaluation_anew_that_stopped_on_the_way_is_not_comparable(anew: int) -> None:
    """Its first networks were measured with other distractors than its last."""
    runs = [made_up([0.5, 0.9, 0.8], FIELDS), made_up([0.5, 0.9, 0.8], FIELDS)]
    runs[1].networks[anew].fields["test"] = FIELDS | {"eval.distractors": 6}
    assert differing_bases(runs, "test") == ["eval.distractors"]


@pytest.mark.parametrize(
    ("limit", "unreadable", "differing"),
    [
        (9, 0, ["seed", "drawn identities"]),  # made_up has nine
        (10, 0, ["seed"]),
        (10, 1, ["seed", "drawn identities"]),  # ten were drawn, and one cannot be read
        (None, 0, ["seed"]),
    ],
)
def test_seeds_that_draw_other_validation_identities_are_not_comparable(
    limit: int | None, unreadable: int, differing: list[str]
) -> None:
    runs = [made_up([0.5, 0.9], FIELDS | {"validation.identities": limit, "seed": seed}) for seed in (0, 1)]
    for run in runs:
        for network in run.networks:
            network.figures["test"]["unreadable_images"] = unreadable
    assert differing_bases(runs, "test") == differing
    assert are_comparable(differing) == (differing == ["seed"])
    assert differing_bases([runs[0], runs[0]], "test") == []


def test_the_last_network_has_no_figures_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Round 1 of a is trained and not examined yet: what round 0 came to is not its last."""
    for name in ("a", "b"):
        run = made_up_run(tmp_path / name)
        examine(run.start, "eval", 0.5)
        for index in (0, 1):
            train(run.round(index), 40)
            if (name, index) != ("a", 1):
                examine(run.round(index), "eval", 0.7 + 0.1 * index)
    found = show_comparison([tmp_path / "a", tmp_path / "b"], Console())
    said = capsys.readouterr().out
    assert ["last", "network", "round-001", "round-001"] in [line.split() for line in said.splitlines()]
    assert "last not yet 80.0 [78.0, 82.0]" in [" ".join(line.split()) for line in said.splitlines()]
    assert found["intervals"]["test"]["Rank-1"]["last"] == {"apart": [], "overlap": []}


def test_figures_of_a_round_on_the_way_alone_are_no_crash(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run = made_up_run(tmp_path / name)
        for index in (0, 1):
            train(run.round(index), 40)
        examine(run.round(0), "eval", 0.7)
    show_comparison([tmp_path / "a", tmp_path / "b"], Console(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").exists()


def test_a_plot_has_the_test_figures_of_some_where_none_validated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examine(made_up_run(tmp_path / "a").start, "eval", 0.5)
    made_up_run(tmp_path / "b")
    show_comparison([tmp_path / "a", tmp_path / "b"], Console(), tmp_path / "plot.png")
    assert "Rank-1 on the test identities is drawn in" in capsys.readouterr().out
    assert (tmp_path / "plot.png").exists()
    examine(RunDirectory(tmp_path / "b").start, "validate", 0.5)
    runs = {name: ComparedRun.read(tmp_path / name) for name in ("a", "b")}
    assert chosen_figure(runs) == ("validation", "Rank-1")


def test_a_plot_of_any_name(tmp_path: Path) -> None:
    runs = {"$\\frac{x$": made_up([0.5, 0.9, 0.8], FIELDS), "_b\x1b": made_up([0.5], FIELDS)}
    assert chosen_figure(runs) == ("test", "Rank-1")
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        draw_comparison(runs, "test", "Rank-1", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    for suffix in ("png", "svg"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_run_beside_one_that_is_half_done(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(finished_run, tmp_path / "other", symlinks=True)
    shutil.rmtree(other / "round-001" / "checkpoint")
    for stage in ("train", "validate", "eval"):
        (other / "round-001" / "done" / f"{stage}.json").unlink()
    text = (other / "subspace.yaml").read_text()
    (other / "subspace.yaml").write_text(text.replace("\nrounds: 2", "\nrounds: 3"))
    found = show_comparison([finished_run, other], Console(), tmp_path / "plot.png")
    said = capsys.readouterr().out
    assert found["settings"] == {"rounds": [2, 3]}
    assert found["comparable"] == {"validation": True, "test": True}
    assert [len(run["networks"]) for run in found["runs"]] == [3, 2]
    assert [run["networks"][-1]["steps"] for run in found["runs"]] == [16, 8]
    assert found["runs"][0]["networks"][-1]["images"] == 16 * 8 * 2
    assert "test: the same identities and images in all runs" in said
    assert (tmp_path / "plot.png").exists()


def test_what_is_no_run_or_one_alone_is_refused(finished_run: Path, tmp_path: Path) -> None:
    for paths, why in (
        ([finished_run], "two runs or more"),
        ([finished_run, finished_run], "two runs or more"),
        ([finished_run, tmp_path], "is not a run"),
    ):
        with pytest.raises(InputError, match=why):
            show_comparison(paths, Console())


def test_without_matplotlib_the_rest_is_said(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(finished_run, tmp_path / "other", symlinks=True)
    for name in list(sys.modules):
        if name.partition(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError) as caught:
        show_comparison([finished_run, other], Console(), tmp_path / "plot.png")
    assert str(caught.value) == MISSING
    assert "all settings are the same" in capsys.readouterr().out

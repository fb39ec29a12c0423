"""The demo: two arms from one start, told apart by one setting, resumable, honest."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from subspace.mining import InputError
from subspace.mining.json_documents import read_json
from subspace.pipeline import demo
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = copy.deepcopy(demo.SETTINGS)
    settings["pretrain"] |= {"steps": 4, "P": 8, "num_workers": 0}
    settings["plan"] |= {"steps": 4, "P": 8}
    settings["train"] |= {"num_workers": 0}
    settings["extract"] |= {"num_workers": 0}
    settings["eval"] |= {"bootstrap": 20, "fars": [1e-2]}
    monkeypatch.setattr(demo, "SETTINGS", settings)
    monkeypatch.setattr(demo, "IDS_PER_SUBSPACE", 12)


def test_demo(quick: None, small_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = demo.run_demo(tmp_path, 0, small_manifest, Options(Console()))
    printed = capsys.readouterr().out
    assert re.search(
        r"^three trainings and what they are judged by: (about|less than) .* second", printed, re.M
    )
    assert set(results) == {"start", "random", "subspace"}
    for name in ("random", "subspace"):
        run = tmp_path / f"demo-{name}"
        told = read_json(run / "round-001" / "evaluation.json")["metrics"]["Rank-1"]["value"]
        assert results[name]["metrics"]["Rank-1"]["value"] == told
        assert f"{100 * told:.1f} [" in printed
    random, subspace = (
        load_config(tmp_path / f"demo-{name}" / "subspace.yaml") for name in ("random", "subspace")
    )
    assert random.cluster.ids_per_subspace == "all"
    assert subspace.cluster.ids_per_subspace == 12
    assert random.model_copy(update={"cluster": subspace.cluster}) == subspace
    starts = [
        read_json(tmp_path / f"demo-{name}" / "start" / "done" / "pretrain.json")
        for name in ("random", "subspace")
    ]
    assert starts[0]["fingerprint"] == starts[1]["fingerprint"]
    page = tmp_path / "demo-subspace" / "report.html"
    assert "The baseline is demo-random: 8 training steps, this run 8." in page.read_text(encoding="utf-8")
    last_lines = printed.partition("What was written")[2].splitlines()
    assert page.as_uri() in last_lines[1], "the report is named first"
    assert "subspace inspect" in last_lines[2]

    assert demo.run_demo(tmp_path, 0, small_manifest, Options(Console())) == results
    printed = capsys.readouterr().out
    assert printed.count("already done") == 31
    assert "three trainings" not in printed
    with pytest.raises(InputError, match="--force"):
        demo.run_demo(tmp_path, 1, small_manifest, Options(Console(quiet=True)))
    assert (
        demo.run_demo(tmp_path, 1, small_manifest, Options(Console(quiet=True), force=True)).keys()
        == results.keys()
    )


def test_a_loss_without_triplets_and_other_metrics_have_a_table_too() -> None:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    trained = {"active_fraction": None, "train_seconds": 3.0, "mining_seconds": 1.0}
    results = {
        name: {"metrics": {"mAP": figure}, **(trained if name != "start" else {})}
        for name in ("start", "random", "subspace")
    }
    assert "50.0 [40.0, 60.0]" in demo.result_table(results)
    assert demo._reading(results).startswith("mAP on unseen identities")  # pyright: ignore[reportPrivateUsage]
    results["random"]["metrics"]["mAP"] = {"value": None}  # too few pairs to measure it
    assert demo._reading(results) == ""  # pyright: ignore[reportPrivateUsage]


def test_a_wrong_setting_throws_nothing_away(small_manifest: Path, tmp_path: Path) -> None:
    (kept := tmp_path / "demo-subspace" / "kept").mkdir(parents=True)
    with pytest.raises(InputError, match="bogus"):
        demo.run_demo(tmp_path, 1, small_manifest, Options(Console(quiet=True), force=True), ["bogus=1"])
    assert kept.exists()


def test_without_the_shipped_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clone"):
        demo.run_demo(tmp_path, 0, tmp_path / "nothing.parquet", Options(Console(quiet=True)))

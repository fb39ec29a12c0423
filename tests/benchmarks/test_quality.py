"""The harness of the comparison: that its rows can be made and read, never that one of them wins."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from arms import ARMS, COMMON, PRETRAIN, Arm
from glyph_sets import REPOSITORY, WIDE, GlyphSet
from one_row import RESULTS, WORK, Row
from table import read_results, table

from subspace.pipeline.configuration.config_file import parse_config

QUALITY = REPOSITORY / "benchmarks" / "quality"

KEYS = {
    "data", "arm", "kind", "seed", "budget", "rank1_10k", "rank1_100k", "tar_1e-4", "tar_1e-5", "tar_1e-6",
    "coverage_p95", "coverage_p99", "active_fraction", "steps", "seconds", "mining_seconds", "images_per_second",
    "peak_rss_bytes", "commit", "hardware", "lr",
}  # fmt: skip
SHARES = ("rank1_10k", "rank1_100k", "tar_1e-4", "tar_1e-5", "tar_1e-6", "coverage_p95", "coverage_p99")


@pytest.mark.parametrize("arm", ARMS.values(), ids=lambda arm: arm.name)
def test_the_settings_of_every_arm_are_those_of_a_run(arm: Arm) -> None:
    own = [setting.format(n=2000) for setting in arm.settings]
    config = parse_config(
        {"manifest": "m.parquet"}, [*PRETRAIN, *COMMON, *own, f"rounds={arm.rounds}"], "test"
    )
    assert (config.plan.draw.random_fraction == 1) == (arm.kind != "planned")


def test_the_leading_arm_is_what_a_run_does_by_default() -> None:
    """All but the size of its subspaces on a small set."""
    leading = ARMS["groups of 8, 75% random, multi-similarity, λ=0.8, β=20, re-clustered on running means"]
    own = [setting.format(n=10_000) for setting in leading.settings]
    common = [setting for setting in COMMON if setting == "extract.max_images=4"]
    settings = [*common, *own, f"rounds={leading.rounds}", f"plan.P={leading.P}", f"plan.K={leading.K}"]
    settings.remove("plan.strategy=custom")
    told, default = (parse_config({"manifest": "m.parquet"}, given, "test") for given in (settings, ()))
    assert told.plan.draw == default.plan.draw
    draw = {"group_size": None, "random_fraction": None}
    assert told.model_copy(update={"plan": told.plan.model_copy(update=draw)}) == default


def test_a_set_is_its_name() -> None:
    found = GlyphSet.named("20k-images2-noise40")
    assert (found.identities, found.images, found.noise) == (20_000, 2, 0.4)
    with pytest.raises(SystemExit, match="20kk"):
        GlyphSet.named("20kk")


def test_rows_have_names_of_their_own() -> None:
    rows = [
        Row(arm, "20k", seed, budget)
        for arm in ARMS.values()
        for seed in (0, 1)
        for budget in ("steps", "wallclock")
    ]
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "path", sorted(RESULTS.rglob("*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_stored_results_are_whole(path: Path) -> None:
    result = json.loads(path.read_text())
    assert set(result) >= KEYS
    assert result["kind"] in ("random", "softmax", "planned")
    assert result["budget"] in ("steps", "wallclock")
    assert all(0 <= result[key] <= 1 for key in SHARES)
    assert result["mining_seconds"] <= result["seconds"]


def test_the_table_has_a_line_for_each_arm() -> None:
    result = {**dict.fromkeys(SHARES, 0.5), "active_fraction": None, "steps": 10, "images_per_second": 100.0}
    result |= {"seconds": 10.0, "mining_seconds": 1.0, "peak_rss_bytes": 2**30, "hardware": "one"}
    better = result | {"rank1_10k": 0.75}
    elsewhere = better | {"rank1_10k": 0.7, "hardware": "another"}
    lines = table({"one": [result], "other": [better, elsewhere]})
    assert len(lines) == 4
    assert "| 100 | 10 | 10% |" in lines[2]
    assert "| – | – | – |" in lines[3]
    assert lines[2].startswith("| one | 1 | 50.0 |")
    assert "**72.5 ± 3.5**" in lines[3]


@pytest.mark.parametrize("visits", [10, 20, 2.55578])
def test_a_table_is_of_rows_of_one_length(
    visits: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("table.RESULTS", tmp_path)
    arm = ARMS["random, batch OHNM"]
    for made in (10, 20, 2.55578):
        row = Row(arm, "20k", 0, "steps", visits=made, out=tmp_path)
        row.write({"arm": arm.name, "budget": "steps", "visits": made})
    found = read_results("20k", visits)
    assert [result["visits"] for result in found[arm.name, "steps"]] == [visits]


@pytest.mark.slow
def test_a_short_comparison(tmp_path: Path) -> None:
    """Builds the glyph set where it is missing (3 minutes), then makes two arms of equal steps and of equal time."""
    if not (WIDE / "manifest.parquet").exists():
        subprocess.run(["make", "glyphs"], cwd=REPOSITORY, check=True)
    for made in ("runs", "pilots"):
        shutil.rmtree(WORK / made / "5k", ignore_errors=True)
    arms = ("random, batch OHNM", "groups of 8, 75% random, multi-similarity, λ=0.7")
    command = [sys.executable, str(QUALITY / "run_rows.py"), "--data", "5k", "--visits", "2", "--jobs", "2"]
    for arm in arms:
        command += ["--arm", arm]
    subprocess.run([*command, "--out", str(tmp_path)], check=True)
    paths = sorted((tmp_path / "5k").glob("*.json"))
    assert len(paths) == 4
    for path in paths:
        result = json.loads(path.read_text())
        assert set(result) >= KEYS
        assert 0 < result["rank1_100k"] < result["rank1_10k"] < 1
    again = subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, text=True)
    assert again.stdout == "", "rows that have a result are passed over"

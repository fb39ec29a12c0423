"""`subspace status`: where a run stands, what its stages found, and where the time of a training went."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from made_up_runs import finish, log

from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.following.run_text import status_text
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.graph import row
from subspace.pipeline.stages.parts import begun_by
from subspace.pipeline.status import _partial, stage_statuses, stale_exports, steps_a_second, steps_of
from subspace.train.checkpoint_meta import CheckpointMeta

PHASES = ("data", "forward", "loss", "backward", "update")


def phases_of(run: Path) -> dict[str, dict[str, float] | None]:
    done = subspace("status", run, "--json")
    assert done.returncode == 0, done.stderr
    return {f"{Path(s['folder']).name}/{s['stage']}": s["phases"] for s in json.loads(done.stdout)}


def test_phases_of_a_real_training_are_the_sums_of_its_log(finished_run: Path) -> None:
    phases = phases_of(finished_run)
    for name, folder, loss in (
        ("start/pretrain", "start", "loss"),
        ("round-001/train", "round-001", "mine"),
    ):
        lines = [
            json.loads(line) for line in (finished_run / folder / "metrics.jsonl").read_text().splitlines()
        ]
        found = phases[name]
        assert found is not None
        for phase in PHASES:
            total = 0.0
            for line in lines:
                assert line[f"seconds_{phase}"] >= 0
                total += line[f"seconds_{phase}"]
            assert found[loss if phase == "loss" else phase] == pytest.approx(total)
        assert found["checkpoint"] > 0  # saved every 3 of 8 steps
        assert sum(found.values()) == pytest.approx(lines[-1]["seconds"], rel=1e-3)
    assert phases["round-000/extract"] is None


@pytest.mark.parametrize("done", [True, False])
def test_shares_are_shown_of_trainings_done_and_begun(finished_run: Path, tmp_path: Path, done: bool) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    if not done:
        (run / "round-001" / "done" / "train.json").unlink()
    lines: list[dict[str, Any]] = [
        {"step": 1, "seconds": 40.0, "active_fraction": None, "seconds_data": 10.0, "seconds_loss": 5.0},
        {"step": 3, "seconds": 100.0, "active_fraction": 0.5, "seconds_data": 30.0, "seconds_loss": 15.0,
         "seconds_checkpoint": 25.0},
    ]  # fmt: skip
    (run / "round-001" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = subspace("status", run).stdout.splitlines()
    (head,) = (line.split()[2:] for line in shown if line.startswith("time of "))
    share = {line.split()[0]: line.split()[1:] for line in shown if line.endswith(" %")}["round-001/train"]
    found = dict(zip(head, share[::2], strict=True))
    expected = {"loading": "40", "loss": "20", "saving": "25", "other": "15"}
    assert {name: value for name, value in found.items() if value != "0"} == expected


def test_logs_of_before_phases_were_timed_show_none(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "round-000" / "metrics.jsonl").write_text('{"step": 1, "seconds": 4.0, "active_fraction": 0.5}\n')
    assert phases_of(run)["round-000/train"] is None
    assert "round-000/train" not in subspace("status", run).stdout.partition("time of")[2]


def test_the_time_left_of_a_training_goes_by_its_steps(tmp_path: Path) -> None:
    """By images it was up to K times too long: a batch takes each image once, and P may be more than there are."""
    run = RunDirectory(tmp_path)
    config = RunConfig.model_validate(
        {"manifest": "m", "rounds": 2, "pretrain": {"steps": 1000}, "plan": {"steps": 200}}
    )
    context = Context(run, config, cast("Manifest", None), Options())
    lines: list[dict[str, float | None]] = [
        {"step": step, "images_per_second": 60.0, "seconds": 40.0 + (step + 1) / 2}
        for step in range(9, 100, 10)
    ]
    for index, left in ((-1, "1,000, 60 images/s, 7 min 30 s"), (0, "200, 60 images/s, 50 s")):
        log(run.round(index), lines)
        note = _partial(context.at_round(index), row("pretrain" if index < 0 else "train"))
        assert note == f"at step 100 of {left} left (not saved yet)"
    finish(run.round(0), "train", steps=250)
    assert steps_of(context.at_round(1), row("train")) == 150  # the last round is a shorter one
    assert steps_a_second(lines) == pytest.approx(2)
    assert steps_a_second([{"step": 9, "seconds": 5.0}]) == pytest.approx(2)
    assert steps_a_second([{"step": 9}]) is None


def test_stages_speak_in_words_and_units(finished_run: Path) -> None:
    lines = subspace("status", finished_run).stdout.splitlines()
    shown = {line.split()[0]: line for line in lines if "/" in line and " done " in line}
    assert re.search(
        r" [\d.]+ s  8 steps, loss [\d.]+, \d+ % of triplets active, [\d,]+ images/s$",
        shown["round-001/train"],
    )
    assert re.search(r"  48 identities, [\d,]+ images/s$", shown["round-000/extract"])
    assert re.search(r"  Rank-1 [\d.]+ %, Rank-5 [\d.]+ %, TAR@FAR=1e-2 [\d.]+ %$", shown["start/eval"])
    assert len({line.index(" done ") for line in shown.values()}) == 1
    raw = (
        "active_fraction",
        "images_per_second",
        "plain_similarity",
        "kept 0.",
        "recall_queries",
        "hardness",
    )
    assert not [key for key in raw if key in "\n".join(lines)]


def test_json_keeps_the_keys_of_the_summaries(finished_run: Path) -> None:
    stages = json.loads(subspace("status", finished_run, "--json").stdout)
    keys = {
        "folder",
        "stage",
        "state",
        "seconds",
        "note",
        "phases",
        "jobs",
        "summary",
        "advice",
        "expected",
        "at_work",
    }
    assert all(set(stage) == keys for stage in stages)
    for stage in stages:
        marker = finished_run / stage["folder"] / "done" / f"{stage['stage']}.json"
        assert stage["summary"] == json.loads(marker.read_text())["summary"]


def test_status_of_a_run_that_has_just_begun(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    assert subspace("pretrain", run).returncode == 0
    assert subspace("extract", run, "--shard", "0", "--num-shards", "3").returncode == 0
    states = {
        (stage["folder"], stage["stage"]): (stage["state"], stage["note"])
        for stage in json.loads(subspace("inspect", run, "--json").stdout)
    }
    assert states["start", "pretrain"][0] == "done"
    assert states["start", "eval"][0] == "to do"
    assert states["round-000", "extract"] == ("begun", "1 of 3 parts")
    assert states["round-001", "train"][0] == "to do"
    text = subspace("status", run).stdout
    assert re.search(r"round-000/extract +begun", text)
    assert "no command is at work here" in text


def test_an_extraction_begun_with_other_settings_is_stale(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    shutil.rmtree(run / "round-001")
    at = Context.open(run).at_round(1)
    begun_by(row("extract").stage(at)).begin()
    part = at.folder.identity_parts / "means-00000-of-00003.parquet"
    part.touch()

    def extract(*settings: str) -> tuple[str, str, str]:
        statuses = stage_statuses(Context.open(run, settings))
        (one,) = (one for one in statuses if (one.folder, one.stage) == ("round-001", "extract"))
        return one.state, one.note, one.advice

    assert extract() == ("begun", "1 of 3 parts", "")
    state, note, advice = extract("extract.identities_per_part=10")
    assert (state, note) == ("stale", "begun with extract.identities_per_part=20, now it is 10")
    assert "--no-resume" in advice


def test_the_time_left_of_an_extraction_goes_by_parts_of_now(tmp_path: Path) -> None:
    """After a change of the size of parts it was 9 of 7, after a pause of a day two days too long."""
    context = Context(RunDirectory(tmp_path), RunConfig(manifest="m"), cast("Manifest", None), Options())
    parts = context.folder.identity_parts
    parts.mkdir(parents=True)

    def made(part: int, total: int, ago: float) -> None:
        path = parts / f"means-{part:05d}-of-{total:05d}.parquet"
        path.touch()
        os.utime(path, (1e9 - ago, 1e9 - ago))

    for part in range(7):
        made(part, 7, 90_000 + part)
    made(0, 8, 86_400)
    assert _partial(context, row("extract")) == "1 of 8 parts"
    for part, ago in ((1, 20), (2, 10), (3, 0)):
        made(part, 8, ago)
    assert _partial(context, row("extract")) == "4 of 8 parts, 6.0 a minute, 40 s left"


def test_a_stage_is_running_as_soon_as_it_has_begun(finished_run: Path, tmp_path: Path) -> None:
    """A training has no line of its log for a while, a clustering never."""
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(finished_run, run.path, symlinks=True)

    def states() -> list[str]:
        found = {f"{one.folder}/{one.stage}": one.state for one in stage_statuses(Context.open(run.path))}
        return [found[name] for name in ("round-001/extract", "round-001/cluster", "round-001/plan")]

    for stage in ("cluster", "plan", "train"):
        (run.path / "round-001" / "done" / f"{stage}.json").unlink()
    with run.locked("run"):
        assert states() == ["done", "to do", "to do"]
        run.note_stage("round-001/cluster")
        assert states() == ["done", "running", "to do"]
        note, alive = run.activity()
        assert note is not None
        assert (note["stage"], note["command"], alive) == ("round-001/cluster", "run", True)
        seen = subspace("status", run.path).stdout  # another process reads it in the lock
        assert re.search(r"round-001/cluster +running", seen)
    run.note_stage("round-001/plan")  # nobody holds the run
    assert states() == ["done", "to do", "to do"]


def test_no_row_of_the_manifest_is_read_where_the_start_was_examined(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten million images that took longer than all the rest."""

    def refuse(manifest: Manifest) -> None:
        raise AssertionError(f"the rows of {manifest.path} are read")

    monkeypatch.setattr(Manifest, "table", property(refuse))
    assert {one.state for one in stage_statuses(Context.open(finished_run))} == {"done"}


def test_a_run_ends_early_by_the_metric_that_it_has_now(finished_run: Path, tmp_path: Path) -> None:
    """best.json is of the metric with which the run stopped."""
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    shutil.rmtree(run.round(1).path)
    best = json.loads(run.best_record.read_text())
    del best["validations"]["round-001"]
    for folder, finer in ((run.start, 0.5), (run.round(0), 0.7)):
        best["validations"][folder.name]["value"] = 0.5
        found = json.loads(folder.validation.read_text())
        found["metrics"]["Rank-1"]["value"], found["metrics"]["Rank-5"]["value"] = 0.5, finer
        folder.validation.write_text(json.dumps(found))
    run.best_record.write_text(json.dumps(best | {"network": "start", "checkpoint": "start/checkpoint"}))

    def folders(*settings: str) -> set[str]:
        context = Context.open(run.path, ["early_stop.patience=1", *settings])
        return {one.folder for one in stage_statuses(context)}

    assert folders() == {"start", "round-000"}
    assert folders("early_stop.metric=Rank-5") == {"start", "round-000", "round-001"}
    assert folders("early_stop.metric=mAP") == {
        "start",
        "round-000",
        "round-001",
    }  # nothing says that it stopped


def test_rounds_of_an_earlier_longer_run_are_not_stale(finished_run: Path, tmp_path: Path) -> None:
    """As after `rounds=2 --force` on a run of three."""
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    shutil.copytree(run.round(1).path, run.round(2).path)  # made from the network of round 0, not of round 1
    statuses = stage_statuses(Context.open(run.path))
    assert {one.folder for one in statuses} == {"start", "round-000", "round-001"}
    assert {one.state for one in statuses} == {"done"}
    text = " ".join(status_text(run, statuses, None).split())
    assert "round-002: made from another network than lies before it now; not counted" in text
    assert "stale" not in text
    (run.round(1).path / "done" / "extract.json").write_text("{")
    found = {f"{one.folder}/{one.stage}": one.state for one in stage_statuses(Context.open(run.path))}
    assert found["round-001/extract"] == "stale"


def test_what_will_be_made_from_another_network_is_stale_at_once(finished_run: Path, tmp_path: Path) -> None:
    """As after `run --force` with another setting was killed in round 0."""
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (run / "round-000" / "done" / "train.json").unlink()

    def notes(*settings: str) -> dict[str, tuple[str, str]]:
        found = stage_statuses(Context.open(run, settings))
        return {f"{one.folder}/{one.stage}": (one.state, one.note) for one in found}

    assert notes()["round-001/extract"][0] == notes()["round-000/validate"][0] == "unchecked"
    found = notes("train.optimizer.lr=0.5")
    assert found["round-001/extract"][0] == found["round-001/train"][0] == "stale"
    assert found["round-001/extract"][1].startswith("network: ")
    assert notes("recluster.stale_below=0.1")["round-001/extract"][0] == "unchecked"


def test_an_export_of_an_earlier_training_is_said(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    folder = run.round(0)
    folder.checkpoint.mkdir(parents=True)
    (folder.path / "export").mkdir()
    (folder.path / "export" / "model.md").write_text("# a\n| step | 3 |\n| fingerprint | abc |\n")
    for fingerprint, stale in (("abc", False), ("abd", True)):
        (folder.checkpoint / "meta.json").write_text(CheckpointMeta("small", 8, 3, fingerprint).to_json())
        expected = f"round-000/export is stale, as its round was trained again: `subspace export {folder.checkpoint} --force`"
        assert stale_exports(run) == [expected] * stale


def test_a_run_whose_manifest_is_gone_is_looked_at(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    run, gone = shutil.copytree(finished_run, tmp_path / "run", symlinks=True), tmp_path / "gone.parquet"
    settings = (run / "subspace.yaml").read_text()
    (run / "subspace.yaml").write_text(settings.replace(str(small_manifest), str(gone)))
    assert str(gone) in (run / "subspace.yaml").read_text()
    way_on = f"{gone} does not exist; where it has moved, add manifest=NEW to the command"
    for command in ("status", "inspect"):
        done = subspace(command, run)
        assert done.returncode == 0, done.stderr
        assert way_on in " ".join(done.stdout.split())
    done = subspace("status", run, "--json")
    examined = ("validate", "eval")  # they go by the manifest's columns
    for one in json.loads(done.stdout):
        assert one["state"] == ("unchecked" if one["stage"] in examined else "done"), one
    assert way_on in done.stderr
    done = subspace("run", run)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert way_on in done.stderr
    done = subspace("logs", run)
    assert (done.returncode, str(gone) in done.stderr) == (2, False)  # nothing was submitted
    for command in ("status", "inspect"):  # both take what they advise
        done = subspace(command, run, f"manifest={small_manifest}")
        assert (done.returncode, "does not exist" in done.stdout) == (0, False), done.stderr


def test_a_stage_whose_input_is_gone_is_unchecked_and_not_to_do(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (run / "round-001" / "done" / "cluster.json").unlink()
    states = {f"{one.folder}/{one.stage}": one for one in stage_statuses(Context.open(run))}
    assert states["round-001/cluster"].state == "to do"
    assert states["round-001/plan"].state == "unchecked"
    assert states["round-001/extract"].state == "done"
    (run / "round-001" / "done" / "plan.json").write_text("{")
    states = {f"{one.folder}/{one.stage}": one for one in stage_statuses(Context.open(run))}
    assert states["round-001/plan"].state == "stale"
    assert "--round 1 --force" in states["round-001/plan"].advice
    context = Context.open(
        run, ["manifest=/nowhere.parquet"], needs_manifest=False
    )  # looks past the damaged marker
    assert context.manifest.fingerprint == Context.open(finished_run).manifest.fingerprint


def test_images_that_have_moved_are_thought_of(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.parquet"
    write_parquet(moved, MANIFEST, pq.read_table(small_manifest), "f" * 32)
    done = subspace("status", finished_run, f"manifest={moved}")
    assert "keep the old manifest, with a link to them where they were" in " ".join(done.stdout.split())

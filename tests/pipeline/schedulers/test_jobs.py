"""What is left of a run, as jobs.

Covers pipeline/due.py as well.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import StaleArtifactError
from subspace.pipeline.options import Options
from subspace.pipeline.schedulers.jobs import Job, jobs_left, ranges, stale_stages
from subspace.pipeline.stages.context import Context


def left(run: Path, *overrides: str) -> list[Job]:
    return jobs_left(Context.open(run, overrides), "slurm")


@pytest.fixture
def new_run(small_manifest: Path, tmp_path: Path) -> Path:
    run = tmp_path / "a 'run\" é 100%"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    return run


@pytest.fixture
def copied(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))


def test_a_new_run_is_all_stages_in_order(new_run: Path) -> None:
    stages = ["extract", "cluster", "plan", "train", "eval"]
    jobs = left(new_run)
    assert [job.name for job in jobs] == [
        "start-pretrain", "start-eval",
        *(f"round-00{index}-{stage}" for index in (0, 1) for stage in stages),
    ]  # fmt: skip
    extract, cluster = jobs[2:4]
    assert (extract.shards, extract.num_shards) == ((0, 1, 2), 3)  # 48 identities, 20 in a part
    assert extract.commands == (("extract", str(new_run), "--round", "0", "--if-due"),)
    assert [command[0] for command in cluster.commands] == ["extract", "cluster"]


def test_running_means_need_no_shards(new_run: Path) -> None:
    names = [job.name for job in left(new_run, "recluster.refresh=running")]
    assert "round-000-extract" in names
    assert "round-001-extract" not in names
    assert "round-001-cluster" in names


def test_overrides_reach_the_commands_but_not_those_of_the_schedule(new_run: Path) -> None:
    jobs = left(new_run, "plan.steps=9", "schedule.job.cpus=1")
    assert all(command[-1] == "plan.steps=9" for job in jobs for command in job.commands)


def test_stale_subspaces_make_rounds_that_a_last_job_submits(new_run: Path) -> None:
    *_, before, last = left(new_run, "recluster.stale_below=0.5", "schedule.job.cpus=1")
    assert (before.name, last.name, last.stage) == ("round-001-eval", "round-001-more", "plan")
    assert last.commands == (
        ("submit", str(new_run), "recluster.stale_below=0.5", "schedule.job.cpus=1", "schedule.scheduler=slurm"),
    )  # fmt: skip


def test_rounds_that_ended_early_are_followed_by_others(copied: Path) -> None:
    for index in (0, 1):
        marker = copied / f"round-00{index}" / "done" / "train.json"
        done = json.loads(marker.read_text())
        done["summary"]["steps"] = 3
        marker.write_text(json.dumps(done))
    names = [job.name for job in left(copied)]  # 10 of 16 steps are left, in rounds of 8 at most
    assert names[0] == "round-002-extract"
    assert names[-1] == "round-003-eval"


def test_a_finished_run_has_nothing_left(finished_run: Path) -> None:
    assert left(finished_run) == []
    done = subspace("submit", finished_run, "--scheduler", "slurm")
    assert done.returncode == 0
    assert "nothing is left to do" in done.stdout


def test_only_missing_shards_are_left(copied: Path) -> None:
    shutil.rmtree(copied / "round-001")
    for shard in (0, 2):
        done = subspace("extract", copied, "--round", 1, "--shard", shard, "--num-shards", 3)
        assert done.returncode == 0, done.stderr
    extract = left(copied)[0]
    assert (extract.name, extract.shards, extract.num_shards) == ("round-001-extract", (1,), 3)
    assert left(copied, "schedule.shards=2")[0].shards == (1,)  # parts 1 of 0, 2 and 1
    assert subspace("extract", copied, "--round", 1, "--shard", 1, "--num-shards", 3).returncode == 0
    assert left(copied)[0].name == "round-001-cluster"


def test_parts_of_other_settings_are_stale_and_then_missing(copied: Path) -> None:
    shutil.rmtree(copied / "round-001")
    other = ("--shard", 0, "--num-shards", 3, "extract.precision=bf16-mixed")
    assert subspace("extract", copied, "--round", 1, *map(str, other)).returncode == 0
    setting = ("extract.precision=auto",)
    with pytest.raises(StaleArtifactError, match=r"begun with extract.precision=bf16-mixed, now it is auto"):
        left(copied, *setting)
    assert stale(copied, *setting) == ["round-001/extract"]
    context = Context.open(copied, setting, Options(overrides=setting, remake_stale=True))
    assert jobs_left(context, "slurm", stale_stages(context))[0].shards == (0, 1, 2)


def test_a_stale_stage_is_refused(copied: Path) -> None:
    with pytest.raises(
        StaleArtifactError,
        match=r"cluster.ids_per_subspace=12, now it is 13.* as jobs: `subspace submit .*--force",
    ):
        left(copied, "cluster.ids_per_subspace=13")


def stale(run: Path, *overrides: str) -> list[str]:
    return [stage.label for stage in stale_stages(Context.open(run, overrides))]


def in_round(index: int, *stages: str) -> list[str]:
    return [f"round-{index:03d}/{stage}" for stage in stages]


ROUND_STAGES = ("extract", "cluster", "plan", "train", "validate", "eval")


def test_what_is_made_of_what_is_stale_is_stale_as_well(copied: Path) -> None:
    assert stale(copied) == []
    assert stale(copied, "extract.max_images=2") == [*in_round(0, *ROUND_STAGES), *in_round(1, *ROUND_STAGES)]
    assert stale(copied, "train.optimizer.lr=0.5") == [
        *in_round(0, "train", "validate", "eval"),
        *in_round(1, *ROUND_STAGES),
    ]
    assert stale(copied, "eval.metrics=[Rank-1]") == ["start/eval", "round-000/eval", "round-001/eval"]
    (copied / "round-000" / "done" / "train.json").unlink()  # as after an interrupted `run --force`
    assert stale(copied, "extract.max_images=2") == [
        *in_round(0, "extract", "cluster", "plan", "train", "validate", "eval"),
        *in_round(1, *ROUND_STAGES),
    ]


def test_what_is_damaged_is_alone_made_again(copied: Path) -> None:
    weights = copied / "round-000" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert stale(copied) == ["round-000/train"]
    (copied / "round-001" / "done" / "cluster.json").write_text("{")
    assert stale(copied) == ["round-000/train", "round-001/cluster"]


def test_a_dry_run_knows_the_jobs_for_what_it_would_forget(copied: Path) -> None:
    setting = ("extract.max_images=2",)
    context = Context.open(copied, setting, Options(overrides=setting, remake_stale=True, dry_run=True))
    extract, *_, last = jobs = jobs_left(context, "slurm", stale_stages(context))
    assert (extract.name, extract.shards) == ("round-000-extract", (0, 1, 2))
    assert last.name == "round-001-eval"
    assert "start-eval" not in [job.name for job in jobs]


def test_shards_of_what_is_stale_can_be_made_as_the_refusal_says(copied: Path) -> None:
    words = ("extract.max_images=2", "--shard", "0", "--num-shards", "3")
    refused = subspace("extract", copied, "--round", 0, *words, "--force")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    found = re.search(r"`subspace (submit .*--force)`.* first remove (\S+) and (\S+)\n", refused.stderr)
    assert found is not None
    shown = subspace(*shlex.split(found[1]), "--scheduler", "slurm", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "### sbatch --array=0-2 round-000-extract.sh" in shown.stdout
    assert "round-000/extract is stale: would be forgotten" in shown.stdout
    Path(found[2]).unlink()
    assert not Path(found[3]).exists()
    done = subspace("extract", copied, "--round", 0, *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("killed", "setting", "first"),
    [
        ("round-000/done/train.json", "train.optimizer.lr=0.5", "round-000/validation.json"),
        ("start/done/pretrain.json", "pretrain.steps=9", "start/validation.json"),
    ],
)
def test_what_a_job_would_find_stale_is_refused_after_an_interrupted_force(
    copied: Path, killed: str, setting: str, first: str
) -> None:
    marker = copied / killed
    marker.unlink()
    shutil.rmtree(marker.parents[1] / "checkpoint")
    assert left(copied)[0].name == killed.replace("/done/", "-").removesuffix(".json")
    with pytest.raises(StaleArtifactError, match=f"{first} was made with network=.*--force"):
        left(copied, setting)


def test_rounds_after_the_end_are_not_due(finished_run: Path) -> None:
    done = subspace("train", finished_run, "--round", 2, "--if-due")
    assert done.returncode == 0, done.stderr
    assert "all 16 steps are done before round 2: nothing is left to do" in done.stdout


def test_after_an_early_stop_nothing_is_due(copied: Path) -> None:
    shutil.rmtree(copied / "round-001")
    stops = ("early_stop.patience=1", "early_stop.min_delta=0.99")  # no round can gain so much
    assert left(copied, *stops) == []
    done = subspace("extract", copied, "--round", 1, "--if-due", "--shard", 0, *stops)
    assert done.returncode == 0, done.stderr
    assert "the run stopped early before round 1" in done.stdout
    assert not (copied / "round-001").exists()
    assert left(copied, "early_stop.patience=null")[0].name == "round-001-extract"


def test_a_round_that_is_not_needed_any_more_may_be_stale(copied: Path) -> None:
    """As after `rounds` was lowered, and all was made again."""
    marker = copied / "round-000" / "done" / "train.json"
    done = json.loads(marker.read_text())
    done["summary"]["steps"] = 16
    marker.write_text(json.dumps(done))
    (copied / "round-001" / "done" / "cluster.json").write_text('{"fingerprint": "another"}')
    assert left(copied) == []


@pytest.mark.slow
def test_without_test_identities_an_end_is_an_end(copied: Path, small_source: Path, tmp_path: Path) -> None:
    run, manifest = tmp_path / "untested", tmp_path / "untested.parquet"
    table = pq.read_table(small_source)
    pq.write_table(
        table.filter(pc.not_equal(table["split"].cast(pa.string()), "test")), tmp_path / "s.parquet"
    )
    assert subspace("ingest", tmp_path / "s.parquet", "--out", manifest).returncode == 0
    assert subspace("init", run, "--manifest", manifest, *QUICK, "rounds=1").returncode == 0
    assert "round-000-eval" in [job.name for job in left(run)]  # it is validated
    assert subspace("run", run).returncode == 0
    assert left(run) == []
    assert subspace("eval", run).returncode == 0


def test_nobody_to_examine_is_no_job(new_run: Path) -> None:
    nobody = ("data.test_splits=[none]", "data.val_splits=[none]", "data.distractor_splits=[none]")
    assert {job.stage for job in left(new_run, *nobody)} == {
        "pretrain",
        "extract",
        "cluster",
        "plan",
        "train",
    }


@given(st.sets(st.integers(0, 40)))
def test_ranges_are_the_numbers(numbers: set[int]) -> None:
    found = ranges(sorted(numbers))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))

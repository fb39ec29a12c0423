"""`subspace extract --processes N`: the bytes of one process, whoever is killed or signalled on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import QUICK, subspace
from running_processes import SLOW_NETWORK, children, errors_of, is_alive, start, wait

from subspace.mining import InputError, StaleArtifactError
from subspace.pipeline.child_processes import Child, threads_each
from subspace.pipeline.console import Console, amount
from subspace.pipeline.options import Options
from subspace.pipeline.stages import extraction_processes
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.extract import extract_means
from subspace.pipeline.stages.extraction import Extraction
from subspace.pipeline.stages.graph import row
from subspace.pipeline.stages.parts import Shard
from subspace.train import load_network

PARTS, IMAGES = 6, 288
SETTINGS = (*QUICK, "pretrain.steps=0", "extract.identities_per_part=8", "extract.keep_embeddings=true")
TABLES = ("identities", "quarantine", "embeddings")


def begin(run: Path, manifest: Path, *settings: str, cwd: Path | None = None) -> None:
    for command in (("init", run, "--manifest", manifest, *SETTINGS, *settings), ("pretrain", run)):
        done = subspace(*command, cwd=cwd)
        assert done.returncode == 0, done.stderr


def results(run: Path) -> dict[str, bytes]:
    assert not (run / "round-000" / "identities.parts").exists()
    return {name: (run / "round-000" / f"{name}.parquet").read_bytes() for name in TABLES}


def finished_parts(run: Path) -> int:
    return len(list((run / "round-000" / "identities.parts").glob("means-*.parquet")))


@pytest.fixture(scope="module")
def begun(finished_run: Path, small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six parts whose next stage is the extraction of round 0."""
    run = tmp_path_factory.mktemp("begun") / "run"
    begin(run, small_manifest, f"model=checkpoint:{finished_run / 'start' / 'checkpoint'}")
    return run


@pytest.fixture(scope="module")
def whole(begun: Path) -> dict[str, bytes]:
    """What one process makes of it."""
    run = begun.parent / "whole"
    shutil.copytree(begun, run)
    extract_here(run)
    return results(run)


def extract_here(run: Path, processes: int = 1, shard: Shard | None = None, **options: Any) -> dict[str, Any]:
    """The stage in this very process, and what it starts."""
    given = Options(Console(quiet=True), processes=processes, **options)
    return extract_means(Context.open(run, options=given), shard=shard)


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_bytes_of_one_process(begun: Path, whole: dict[str, bytes], tmp_path: Path, count: int) -> None:
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    done = subspace("extract", run, "--processes", str(count))
    assert done.returncode == 0, done.stderr
    assert f"in {PARTS} parts by {count} processes" in done.stdout
    assert done.stdout.count("\n") == 2
    assert results(run) == whole
    assert "already done" in subspace("extract", run, "--processes", str(count)).stdout


def test_what_is_left_is_announced_of_a_shard_or_of_all(begun: Path, tmp_path: Path) -> None:
    run = shutil.copytree(begun, tmp_path / "run")

    def said(shard: Shard | None = None, **options: Any) -> str:
        context = Context.open(run, options=Options(Console(quiet=True), **options))
        return str(Extraction(context, row("extract").stage(context)).estimate(shard))

    def disk(identities: int, images: int) -> str:
        return f", {amount(identities * D * 4 + images * D * 2)} of disk"

    D = load_network(f"checkpoint:{run / 'start' / 'checkpoint'}").embedding_size
    assert said().startswith(f"{IMAGES} images of 48 identities on")
    assert disk(2 * 48, 2 * IMAGES) in said()  # the parts, and all of them merged
    assert said(Shard(0, 2)).startswith("144 images of 24 identities on")
    assert "in 3 of 6 parts" in said(Shard(0, 2))
    assert disk(24, 144) in said(Shard(0, 2))
    extract_here(run, shard=Shard(1, 6))
    assert said().startswith("240 images of 40 identities on")
    assert "in 5 of 6 parts" in said()
    assert disk(48 + 40, IMAGES + 240) in said()
    assert said(Shard(1, 6)).startswith("0 images of 0 identities on")
    assert said(force=True).startswith(f"{IMAGES} images of 48 identities on")


def test_embeddings_of_a_killed_command_are_not_left_beside_other_means(begun: Path, tmp_path: Path) -> None:
    run = shutil.copytree(begun, tmp_path / "run")
    left = run / "round-000" / "embeddings.parquet"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"of other settings")
    context = Context.open(run, ["extract.keep_embeddings=false"], Options(Console(quiet=True)))
    assert "embeddings.parquet" not in extract_means(context)["files"]
    assert not left.exists()


@pytest.mark.slow
def test_small_parts_give_other_means_only_where_images_are_drawn(
    begun: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Each part draws its own images: parts of another size draw others, however many processes make them."""
    for limit in ("null", "2"):
        means = []
        for name, size, processes in (("one", 48, 1), ("two", 8, 2), ("same", 48, 2)):
            run = tmp_path / f"{name}-{limit}"
            shutil.copytree(begun, run)
            settings = (f"extract.identities_per_part={size}", f"extract.max_images={limit}")
            done = subspace("extract", run, "--processes", str(processes), *settings)
            assert done.returncode == 0, done.stderr
            table = pq.read_table(run / "round-000" / "identities.parquet")
            assert table["images"].to_pylist() == [6 if limit == "null" else 2] * 48
            means.append(np.stack(table["mean"].to_pylist()))
        one, two, same = means
        assert np.array_equal(one, same)
        apart = np.abs(one - two).max()  # other batches round otherwise
        assert apart < 1e-5 if limit == "null" else apart > 0.05


@pytest.mark.slow
def test_a_whole_run(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    """Extraction is done in two processes, and what follows takes its result."""
    run = tmp_path / "run"
    begin(run, small_manifest, f"model=checkpoint:{finished_run / 'start' / 'checkpoint'}", "rounds=1")
    done = subspace("run", run, "--processes", "2", "plan.steps=2")
    assert done.returncode == 0, done.stderr
    assert f"in {PARTS} parts by 2 processes" in done.stdout
    assert "Rank-1" in done.stdout


@pytest.fixture(scope="module")
def slow_begun(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six parts that take a while, in a folder with its network; beside it what one process makes of it."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow_network.py").write_text(SLOW_NETWORK)
    settings = ("model=python:slow_network:Slow", "extract.batch_size=16")
    begin(folder / "run", small_manifest, *settings, cwd=folder)
    shutil.copytree(folder / "run", folder / "whole")
    done = subspace("extract", "whole", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "embedded.txt").unlink()
    return folder / "run"


@pytest.fixture
def slow(slow_begun: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    shutil.copytree(slow_begun, tmp_path / "run")
    shutil.copy(slow_begun.parent / "slow_network.py", tmp_path)
    return tmp_path / "run"


def goes_on(run: Path, whole: Path) -> None:
    """Extract on: what is missing is made, and nothing else; the tables are those of one undisturbed process."""
    embedded, missing = run.parent / "embedded.txt", PARTS - finished_parts(run)
    embedded.unlink()
    assert 0 < missing < PARTS
    done = subspace("extract", run, "--processes", "2", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert len(embedded.read_text()) == missing * IMAGES // PARTS
    assert results(run) == results(whole)


@pytest.mark.slow
def test_a_killed_child(slow: Path, slow_begun: Path) -> None:
    process = start("extract", slow, "--processes", "2", cwd=slow.parent)
    wait(lambda: finished_parts(slow))
    pids = children(process.pid)
    assert len(pids) == 2
    for pid in pids:
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert not [variable for variable in environment if variable.startswith(("RANK=", "WORLD_SIZE="))]
        assert f"SUBSPACE_PARENT={process.pid}" in environment
    os.kill(pids[1], signal.SIGKILL)
    errors = errors_of(process)
    assert process.returncode == 4
    assert errors.splitlines() == [
        "subspace: process 1 of 2 was killed (SIGKILL), and the others were stopped; run the same command to continue "
        "from what is saved"
    ]
    assert not [pid for pid in pids if is_alive(pid)]
    goes_on(slow, slow_begun.parent / "whole")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGKILL)),
    ],
)
def test_a_signal_to_the_parent(slow: Path, slow_begun: Path, number: signal.Signals) -> None:
    process = start("extract", slow, "--processes", "2", cwd=slow.parent)
    wait(lambda: finished_parts(slow))
    pids = children(process.pid)
    process.send_signal(number)
    errors = errors_of(process)
    if number is not signal.SIGKILL:
        assert process.returncode == 4
        assert (
            errors.splitlines()[-1] == f"subspace: stopped by {number.name}; run the same command to continue"
        )
        assert not [pid for pid in pids if is_alive(pid)]
    wait(lambda: not [pid for pid in pids if is_alive(pid)])
    goes_on(slow, slow_begun.parent / "whole")


@pytest.mark.slow
def test_a_child_s_own_error_is_said_once(damaged: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, damaged, "data.on_bad_image=fail")
    refused = subspace("extract", run, "--processes", "2")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "data.on_bad_image=quarantine" in refused.stderr
    assert not (run / "round-000" / "identities.parquet").exists()


def test_not_with_shard(begun: Path) -> None:
    refused = subspace("extract", begun, "--processes", "2", "--shard", "0", "--num-shards", "2")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "--processes 2" in refused.stderr
    assert "--shard 0" in refused.stderr


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that an extraction starts; each does its work before the next begins, in this process."""
    found: list[Child] = []

    def run_children(
        children: Sequence[Child], options: Options, watch: Callable[[], None], *, grace: float
    ) -> None:
        found.extend(children)
        for child in children:
            command, run, *rest = child.arguments
            given = dict(zip(rest[:6:2], rest[1:6:2], strict=True))
            assert (command, given["--round"]) == ("extract", "0")
            extract_here(Path(run), shard=Shard(int(given["--shard"]), int(given["--num-shards"])))
            watch()

    monkeypatch.setattr(extraction_processes, "run_children", run_children)
    return found


def copy_of(begun: Path, tmp_path: Path, *finished: int) -> Path:
    """A run in which some parts are finished."""
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    for part in finished:
        extract_here(run, shard=Shard(part, PARTS))
    return run


def test_no_more_processes_than_missing_parts(
    begun: Path, whole: dict[str, bytes], tmp_path: Path, started: list[Child]
) -> None:
    run = copy_of(begun, tmp_path, 0, 2, 4)
    extract_here(run, processes=8, device="cpu", overrides=("extract.num_workers=0",))
    assert len(started) == 3
    for child in started:
        assert child.arguments[-3:] == ["--device=cpu", "--quiet", "extract.num_workers=0"]
        assert child.threads == threads_each(PARTS)
        assert not child.speaks
    assert results(run) == whole


@pytest.mark.parametrize("processes", [2, 4])
def test_no_process_without_a_missing_part(
    begun: Path, whole: dict[str, bytes], tmp_path: Path, started: list[Child], processes: int
) -> None:
    run = copy_of(begun, tmp_path, 0, 1, 3, 5)
    extract_here(run, processes=processes)
    assert [child.arguments[5:8:2] for child in started] == [["0", "2"]]
    assert started[0].threads == threads_each(processes)
    assert results(run) == whole


def test_nothing_missing_is_merged(
    begun: Path, whole: dict[str, bytes], tmp_path: Path, started: list[Child]
) -> None:
    run = copy_of(begun, tmp_path, *range(PARTS))
    extract_here(run, processes=4)
    assert not started
    assert results(run) == whole


def test_a_dry_run_starts_nothing(begun: Path, tmp_path: Path, started: list[Child]) -> None:
    run = copy_of(begun, tmp_path)
    extract_here(run, processes=4, dry_run=True)
    assert not started
    assert not (run / "round-000").exists()


@pytest.mark.parametrize("options", [{"resume": False}, {"force": True}])
def test_parts_are_dropped_before_processes_start(
    begun: Path, whole: dict[str, bytes], tmp_path: Path, started: list[Child], options: dict[str, bool]
) -> None:
    run = copy_of(begun, tmp_path, 0, 1, 2, 3)
    extract_here(run, processes=3, **options)
    assert len(started) == 3
    assert results(run) == whole


def test_a_shard_s_settings_are_those_of_the_run(begun: Path, tmp_path: Path) -> None:
    """The merge embedded all images again, with other settings than the array had, and did not say so."""
    run = shutil.copytree(begun, tmp_path / "run")
    shard = ("extract", run, "--shard", "0", "--num-shards", "2")
    done = subspace(*shard, "extract.max_images=2")
    assert done.returncode == 0, done.stderr
    assert "kept for the next commands of this run: extract.max_images=2" in done.stdout
    assert finished_parts(run) == PARTS // 2
    folder = run / "round-000" / "identities.parts"
    refused = subspace(*shard, "extract.max_images=4")
    assert refused.returncode == 3
    assert refused.stderr == (
        f"subspace: {folder} was begun with extract.max_images=2, now it is 4; finish it as it was, or begin again: "
        f"`subspace extract {run} --round 0 extract.max_images=4 --no-resume`; for shards of your own first remove "
        "that folder\n"
    )
    assert json.loads((run / "overrides.json").read_text())["extract.max_images"]["value"] == "2"
    assert finished_parts(run) == PARTS // 2
    done = subspace("extract", run)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(run / "round-000" / "identities.parquet")["images"].to_pylist() == [2] * 48


def test_parts_of_other_settings_are_refused_or_dropped_as_asked(
    begun: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    run = shutil.copytree(begun, tmp_path / "run")

    def extract(*settings: str, shard: Shard | None = None, **options: Any) -> dict[str, Any]:
        given = Options(Console(quiet=True), **options)
        return extract_means(Context.open(run, settings, given), shard=shard)

    extract("extract.max_images=1", shard=Shard(1, PARTS))
    for options in ({}, {"dry_run": True}, {"shard": Shard(2, PARTS)}):
        with pytest.raises(StaleArtifactError, match=r"begun with extract\.max_images=1, now it is null"):
            extract(**options)
    with pytest.raises(StaleArtifactError, match=r"begun with extract\.identities_per_part=8, now it is 16"):
        extract("extract.identities_per_part=16", "extract.max_images=1")
    assert finished_parts(run) == 1
    for options in ({"resume": False}, {"force": True}, {"remake_stale": True}):
        assert extract(dry_run=True, **options)["dry_run"]
    assert finished_parts(run) == 1
    extract(remake_stale=True)
    assert results(run) == whole


def test_parts_of_a_version_that_noted_no_settings(
    begun: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(begun, tmp_path / "run")
    parts = run / "round-000" / "identities.parts"
    for shard, settings in ((0, ["extract.max_images=1"]), (3, [])):
        context = Context.open(run, settings, Options(Console(quiet=True)))
        extract_means(context, shard=Shard(shard, PARTS))
        (parts / "begun.json").unlink()
    shutil.copy(parts / "means-00000-of-00006.parquet", parts / "means-00000-of-00003.parquet")
    capsys.readouterr()
    extract_means(Context.open(run))
    assert (
        "round-000/extract: 2 parts made with other settings or inputs: made again\n"
        in capsys.readouterr().out
    )
    assert results(run) == whole


def test_running_means_need_no_process(finished_run: Path, tmp_path: Path, started: list[Child]) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    options = Options(Console(quiet=True), processes=4, dry_run=True, force=True)
    with pytest.raises(InputError, match="running"):  # that network was trained without
        extract_means(Context.open(run, ["recluster.refresh=running"], options).at_round(1))
    assert not started


def test_parts_that_nobody_made(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction_processes, "run_children", lambda *_, **__: None)
    with pytest.raises(InputError, match="6 of 6 parts are missing"):
        extract_here(copy_of(begun, tmp_path), processes=2)


@pytest.mark.parametrize(
    ("device", "gpus", "count", "expected"),
    [
        ("cpu", 0, 2, ["cpu", "cpu"]),
        ("cuda", 2, 3, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, 3, ["cuda:1", "cuda:1", "cuda:1"]),
        ("cuda", 4, 2, ["cuda:0", "cuda:1"]),
    ],
)
def test_which_devices(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, count: int, expected: list[str]
) -> None:
    monkeypatch.setattr(extraction_processes, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert extraction_processes.devices_of(device, count) == expected

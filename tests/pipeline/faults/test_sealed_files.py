"""One byte flipped in a file of a finished stage is noticed. Covers pipeline/faults/damaged_files.py and pipeline/following/verification.py, too."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from unsealed_runs import said_by, unseal

from subspace.mining.errors import StaleArtifactError
from subspace.mining.fingerprints import sha256_of
from subspace.pipeline.faults.damaged_files import remaking
from subspace.pipeline.faults.sealed_files import CHECKED_BEFORE_USE, Sealed
from subspace.pipeline.stage_folder import StageFolder
from subspace.pipeline.stages.graph import STAGES, row

ROUND = "round-000"


@pytest.fixture(scope="module")
def copied(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("sealed") / "run"
    shutil.copytree(finished_run, run, symlinks=True)
    return run


@pytest.fixture
def run(copied: Path, tmp_path: Path) -> Path:
    """A run of a test's own; its files are links to those of the copy until they are written."""
    shutil.copytree(copied, tmp_path / "run", symlinks=True, copy_function=shutil.copy)
    return tmp_path / "run"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def undo(run: Path, *stages: str) -> None:
    for stage in stages:
        (run / ROUND / "done" / f"{stage}.json").unlink()


def sealed_in(run: Path, folder: str, stage: str) -> Sealed:
    return Sealed(StageFolder(run / folder, 0), stage, "subspace STAGE")


def test_every_artifact_of_every_stage_is_sealed(copied: Path) -> None:
    sealed, found = set(), set()
    for marker in copied.glob("*/done/*.json"):
        names = json.loads(marker.read_text())["files"]
        sealed |= {marker.parent.parent / name for name in names}
    for file in copied.glob("*/**/*"):
        kept = not {"done", "tensorboard"} & set(file.parts) and file.parts[-2] != "jobs"
        if file.is_file() and kept and file.relative_to(copied).parts[0] != "best":
            found.add(file)
    assert {
        file for file in found if file.name not in ("trackers.json", "metrics.jsonl", "shown.json")
    } == sealed


def test_a_flipped_byte_is_seen_wherever_it_is(run: Path) -> None:
    tried = 0
    for marker in sorted(run.glob(f"{ROUND}/done/*.json")):
        sealed = sealed_in(run, ROUND, marker.stem)
        for name, (size, _) in sealed.files().items():
            path = run / ROUND / name
            for at in (0, 5, size // 2, size - 9, size - 1):
                flip(path, at)
                assert [found for found, _ in sealed.damages()] == [path], (name, at)
                flip(path, at)
                tried += 1
        assert not list(sealed.damages())
    assert tried >= 50


USES = [
    (("cluster",), "identities.parquet", ("cluster", "plan", "train"), "extract"),
    (("plan",), "subspaces.parquet", ("plan", "train"), "cluster"),
    (("plan",), "quarantine.parquet", ("plan", "train"), "extract"),
    (("train",), "plan/part-00000.parquet", ("train",), "plan"),
    (("train",), "subspaces.parquet", ("train",), "cluster"),
    (("eval",), "checkpoint/model.safetensors", ("eval",), "train"),
    (("extract", "--round", "1"), "checkpoint/meta.json", (), "train"),
]
"""A command, what it reads, the markers to take away, and who made it."""


@pytest.mark.parametrize(("command", "file", "undone", "maker"), USES, ids=lambda value: str(value))
def test_a_flipped_byte_stops_the_stage_that_reads_it(
    run: Path, command: tuple[str, ...], file: str, undone: tuple[str, ...], maker: str
) -> None:
    undo(run, *undone)
    if not undone:
        (run / "round-001/done/extract.json").unlink()
    path = run / ROUND / file
    # A digit of a number changes nothing that a reader could see.
    flip(path, path.stat().st_size // 2)
    name, *options = command
    options = options or ([] if name == "eval" else ["--round", "0"])
    code, line = said_by([name, str(run), *options])
    assert code == 3
    assert line == (
        f"{path} is not as it was written: its checksum differs; remake it: `subspace {maker} {run} --round 0 --force`"
    )


def test_status_verifies_all_files(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_by(["status", str(run), "--verify"]) == (0, "")
    assert "files of finished stages, all as written" in capsys.readouterr().out
    flip(run / ROUND / "duplicates.parquet", 20)
    code, line = said_by(["status", str(run), "--verify"])
    assert code == 3
    assert (
        f"1 of 32 files of {run} is not as written: {run}/{ROUND}/duplicates.parquet is not as it was" in line
    )
    (run / "start/checkpoint/model.safetensors").unlink()
    with open(run / "round-001/centroids.parquet", "ab") as file:
        file.write(b"x")
    capsys.readouterr()
    code, line = said_by(["status", str(run), "--verify"])
    assert code == 3
    assert line == f"3 of 32 files of {run} are not as written: remake them as said above"
    said = capsys.readouterr().out
    assert f"model.safetensors is missing; remake it: `subspace pretrain {run} --force`" in said
    assert f"remake it: `subspace cluster {run} --round 1 --force`" in said


def test_a_missing_output_is_made_again_whichever_it_is(run: Path) -> None:
    before = sha256_of(run / ROUND / "centroids.parquet")
    (run / ROUND / "centroids.parquet").unlink()
    assert said_by(["cluster", str(run), "--round", "0", "--quiet"]) == (0, "")
    assert sha256_of(run / ROUND / "centroids.parquet") == before


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("identities.parquet", "extract"),
        ("duplicates.parquet", "cluster"),
        ("plan/part-00000.parquet", "plan"),
        ("checkpoint/model.safetensors", "train"),
        ("evaluation.json", "eval"),
    ],
)
def test_a_cut_off_file_is_not_done_and_never_made_again_silently(
    run: Path, file: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / ROUND / file
    if not path.exists():
        path = run / "round-001" / file
    size, at = (
        path.stat().st_size,
        "" if command == "eval" else f" --round {int(path.parts[-2 - file.count('/')][6:])}",
    )
    os.truncate(path, size - 7)
    how = f"{size - 7:,} bytes long, and it was written with {size:,}"
    line = f"{path} is {how}; remake it: `subspace {command} {run}{at} --force`"
    assert said_by([command, str(run), *at.split()]) == (3, line)
    assert said_by(["run", str(run)])[0] == 3
    assert said_by(["status", str(run)]) == (0, "")
    assert f"{path.name} is {how}" in " ".join(capsys.readouterr().out.split())
    assert path.stat().st_size == size - 7


def test_markers_of_before_hold(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unseal(run)
    undo(run, "plan", "train")
    assert said_by(["plan", str(run), "--round", "0", "--quiet"]) == (0, "")
    assert said_by(["status", str(run), "--verify"]) == (0, "")
    assert "no checksums, made before there were any: start/pretrain" in capsys.readouterr().out


@pytest.mark.parametrize("files", [None, [], {"a": 1}, {"a": ["x", "y"]}, {"a": [1]}])
def test_a_marker_whose_files_are_none_is_told(run: Path, files: object) -> None:
    marker = run / ROUND / "done" / "cluster.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"files": files}))
    with pytest.raises(StaleArtifactError, match="no sizes and checksums; remake it"):
        sealed_in(run, ROUND, "cluster").files()


def test_large_files_are_left_to_verify(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = sealed_in(run, ROUND, "extract")
    path = run / ROUND / "identities.parquet"
    flip(path, 100)
    assert not list(sealed.damages(at_most=path.stat().st_size - 1))
    assert [found for found, _ in sealed.damages(CHECKED_BEFORE_USE)] == [path]


def test_the_command_that_remakes_a_file_is_known_by_where_it_lies(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remaking(run / "start/plan/part-00000.parquet", STAGES) == (
        f"remake it: `subspace pretrain {run} --force`"
    )
    assert remaking(run / "round-001/plan", STAGES) == f"remake it: `subspace plan {run} --round 1 --force`"
    assert remaking(run / "subspace.yaml", STAGES) is None
    assert remaking(run / ROUND / "notes.txt", STAGES) is None
    part = run / ROUND / "identities.parts" / "means-00000-of-00003.parquet"
    part.parent.mkdir()
    part.touch()
    assert remaking(part, STAGES) == f"remove it, then continue with `subspace extract {run} --round 0`"
    monkeypatch.chdir(run)
    assert remaking(Path("round-001/plan"), STAGES) == "remake it: `subspace plan . --round 1 --force`"


def test_a_stage_reads_what_its_inputs_say(copied: Path) -> None:
    from subspace.pipeline.stages.context import Context

    context = Context.open(copied).at_round(1)
    reads = {(sealed.folder.name, sealed.stage, sealed.only) for sealed in row("train").reads(context)}
    assert reads == {
        ("round-000", "train", "checkpoint"),
        ("round-001", "extract", ""),
        ("round-001", "cluster", ""),
        ("round-001", "plan", ""),
    }

"""Bad input: one line on standard error, exit 2, nothing half-written; a warning is one line too.

Covers mining/errors.py, pipeline/commands/data.py and pipeline/commands/runs.py as well.
"""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from PIL import Image

from subspace.mining.errors import SubspaceWarning
from subspace.pipeline import cli


def refused(*arguments: str | Path) -> str:
    """Run a command that must refuse with exit 2 and one line; return the line."""
    done = subspace(*arguments)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("subspace: ")
    return done.stderr


def png(color: tuple[int, int, int] = (200, 30, 60)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for identity in ("ann", "bob", "cid"):
        (tmp_path / "photos" / identity).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / identity / f"{number}.png").write_bytes(png())
    return tmp_path / "photos"


def test_missing_path(tmp_path: Path) -> None:
    assert "nowhere" in refused("ingest", tmp_path / "nowhere", "--out", tmp_path / "m.parquet")
    assert "nowhere" in refused("init", tmp_path / "run", "--manifest", tmp_path / "nowhere.parquet")
    assert "subspace init" in refused("run", tmp_path / "nowhere")
    assert "nowhere" in refused("inspect", tmp_path / "nowhere.parquet")
    assert not (tmp_path / "m.parquet").exists()


def test_csv_without_a_label_column(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,width\na.png,3\n")
    line = refused("ingest", tmp_path / "list.csv", "--out", tmp_path / "m.parquet")
    assert "width" in line
    assert "--identity-column" in line


def test_zero_byte_png(folder: Path, tmp_path: Path) -> None:
    (folder / "bob" / "1.png").write_bytes(b"")
    out = tmp_path / "m.parquet"
    assert "1.png" in refused("ingest", folder, "--out", out)
    assert not out.exists()
    done = subspace("ingest", folder, "--out", out, "--on-bad-image", "quarantine")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.quarantine.parquet").exists()


def test_truncated_parquet(small_manifest: Path, tmp_path: Path) -> None:
    whole = small_manifest.read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    for arguments in (
        ("ingest", cut, "--out", tmp_path / "m.parquet"),
        ("init", tmp_path / "run", "--manifest", cut),
        ("inspect", cut),
    ):
        assert "cut.parquet" in refused(*arguments)
    assert not (tmp_path / "run").exists()


def test_one_identity_only(folder: Path, tmp_path: Path) -> None:
    for other in ("bob", "cid"):
        for file in (folder / other).iterdir():
            file.unlink()
    assert "identit" in refused("ingest", folder, "--out", tmp_path / "m.parquet")


def test_unknown_and_impossible_settings(small_manifest: Path, tmp_path: Path) -> None:
    init = ("init", tmp_path / "run", "--manifest", small_manifest)
    assert "did you mean 'plan.group_size'" in refused(*init, "plan.groupsize=2")
    assert "plan.P=none" in refused(*init, "plan.P=none")
    assert "rounds=0" in refused(*init, "rounds=0")
    assert "section.key=value" in refused(*init, "rounds")
    assert "unknown network 'resnet999'" in refused(*init, "model=resnet999")
    assert "unknown loss 'tripplet'" in refused(*init, "train.loss=tripplet")
    assert "'batch_ohnm' has margin" in refused(
        *init, "train.loss=batch_ohnm", "train.loss_args.batch_ohnm.marge=1"
    )
    assert "train.loss=multi_similarity does not use it" in refused(
        *init, "train.loss_args.batch_ohnm.margin=1"
    )
    assert "No such option" in refused(*init, "--mode", "small")
    assert not (tmp_path / "run").exists()
    assert subspace(*init, *QUICK).returncode == 0
    assert "did you mean 'train.optimizer.warmup_steps'" in refused(
        "run", tmp_path / "run", "train.optimizer.warmup=1"
    )
    assert "plan.P=400" in refused("run", tmp_path / "run", "plan.P=400", "--dry-run")
    assert "exists" in refused(*init)


def test_the_command_that_is_asked_for_is_built_alone() -> None:
    """All 25 take as long as reading the settings; of a wrong name all are wanted, to say which is meant."""
    assert [one.name for one in cli.command_line("cluster").registered_commands] == ["cluster"]
    assert len(cli.command_line("clustr").registered_commands) == len(cli.app.registered_commands) > 20
    assert "did you mean 'cluster'?" in refused("clustr", "run").lower()


def test_closed_output_is_nobody_to_tell(small_source: Path, tmp_path: Path) -> None:
    """It ended with 1 and without a word, having written nothing."""
    words = [sys.executable, "-m", "subspace.pipeline.cli", "ingest", str(small_source), "--out", "m.parquet"]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *words], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "m.parquet").is_file()


def test_version() -> None:
    from importlib.metadata import version

    done = subspace("--version")
    assert (done.returncode, done.stdout) == (0, f"subspace {version('subspace-mining')}\n")


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_run_folder_that_is_not_writable(small_manifest: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")  # permissions do not stop root; these do
    run = tmp_path / place
    assert str(run) in refused("init", run, "--manifest", small_manifest)


def test_manifest_that_is_not_ours(small_source: Path, finished_run: Path, tmp_path: Path) -> None:
    foreign = subspace("init", tmp_path / "run", "--manifest", small_source)
    assert foreign.returncode in (2, 3)
    assert foreign.stderr.count("\n") == 1
    other = refused("init", tmp_path / "run", "--manifest", finished_run / "round-000" / "identities.parquet")
    assert "not a manifest" in other


def test_stages_name_what_must_come_first(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    assert "subspace pretrain" in refused("extract", run)
    assert "subspace extract" in refused("cluster", run)
    assert "subspace cluster" in refused("plan", run)
    assert "subspace p" in refused("train", run)


def test_a_run_is_for_one_command_at_a_time(small_manifest: Path, tmp_path: Path) -> None:
    from subspace.pipeline.run_directory import RunDirectory

    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    with RunDirectory(run).locked("train"):
        assert "in use by `subspace train`" in refused("run", run)


def test_device_that_is_not_there(small_manifest: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    assert "--device cuda" in refused("pretrain", run, "--device", "cuda")


@pytest.mark.parametrize(("rank", "said"), [("0", "subspace: warning: a batch is empty\n"), ("1", "")])
def test_a_warning_is_one_line_of_the_first_process(
    rank: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(*_: object, **__: object) -> None:
        warnings.warn("a batch is empty", SubspaceWarning, stacklevel=1)

    monkeypatch.setattr(cli, "command_line", lambda *_: app)
    monkeypatch.setattr("os._exit", lambda code: None)  # how one of several processes ends
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("error", "lines"), [("OSError(28, 'No space left on device')", 1), ("KeyError('ours')", 6)]
)
def test_a_librarys_thread_that_cannot_write_is_one_line(error: str, lines: int) -> None:
    """A fault of another kind keeps its traceback."""
    script = f"""
import sys, threading
from subspace.pipeline import cli

def work():
    raise {error}

def app(*_, **__):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

cli.command_line = lambda *_: app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert len(done.stderr.splitlines()) >= lines
    assert ("Traceback" in done.stderr) == (lines > 1)
    assert (
        lines > 1 or done.stderr == "warning: [Errno 28] No space left on device; curves may be incomplete\n"
    )


def test_a_warning_is_said_once_though_decoding_makes_python_forget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "showwarning", cli._say_warning)
    monkeypatch.setattr(cli, "_SAID", set())
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        monkeypatch.setattr(warnings, "showwarning", cli._say_warning)
        for step in range(5):
            warnings.warn("no pairs", SubspaceWarning, stacklevel=1)
            warnings.warn(f"other {step // 3}", SubspaceWarning, stacklevel=1)
            warnings.filterwarnings("default", message=f"new filter {step}")  # as `catch_warnings` does
    said = capsys.readouterr().err.splitlines()
    assert said == [f"subspace: warning: {text}" for text in ("no pairs", "other 0", "other 1")]


def test_an_empty_argument_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """`ingest "$PHOTOS"` without that variable read the current folder."""
    monkeypatch.chdir(folder)
    assert "an argument is empty" in refused("ingest", "", "--out", tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()
    done = subspace("ingest", folder / "photos", "--out", tmp_path / "m.parquet", "--junk", "")
    assert "an argument is empty" not in done.stderr


def test_leaving_out_rows_without_an_identity_leaves_out_nobody_else_than_before(
    tmp_path: Path, folder: Path
) -> None:
    """The message of an empty identity says `--junk ''`: followed, it made people of -1 and None."""
    images = sorted(folder.rglob("*.png"))[:5]
    rows = zip(images, ("ann", "bob", "", "-1", "None"), strict=True)
    (tmp_path / "a.csv").write_text("path,label\n" + "".join(f"{path},{name}\n" for path, name in rows))
    done = subspace("ingest", tmp_path / "a.csv", "--out", tmp_path / "m.parquet", "--junk", "")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "m.parquet")["identity"].to_pylist() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("eval e.parquet --protocol pairs --pairs lfw.bin --pairs=cfp_fp.bin", "--pairs"),
        ("ingest photos --root a --out m.parquet --root b", "--root"),
        ("status runs/photos --watch 3 --watch", "--watch"),
    ],
)
def test_an_option_of_one_value_is_given_once(words: str, option: str) -> None:
    """`--pairs A --pairs B` did B alone, and ended with 0."""
    assert f"{option} is given 2 times and takes one value" in refused(*words.split())


def test_flags_and_options_of_several_values_may_be_given_again(folder: Path, tmp_path: Path) -> None:
    words = ("--junk", "bob", "--junk", "eve", "--quiet", "--quiet")
    done = subspace("ingest", folder, "--out", tmp_path / "m.parquet", "--test-fraction", "0", *words)
    assert done.returncode == 0, done.stderr

"""What SECURITY.md promises: nothing of a file is run, and hostile names stay names."""

from __future__ import annotations

import ast
import os
import pickle
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import QUICK_STEPS, REPOSITORY, subspace
from test_architecture import FILES

from subspace.mining import InputError
from subspace.pipeline import embed
from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.console import Console
from subspace.pipeline.embedding.opened_network import run_allows_code
from subspace.pipeline.lists.read_pairs import read_pair_list
from subspace.pipeline.options import Options
from subspace.pipeline.protocols.opening import open_images
from subspace.train import CheckpointMeta, load_network, save_checkpoint

HOSTILE = "$(touch owned)`touch owned`;touch owned\n\x1b[2J\u202e'\"<script>"


# --- the code ---


def dangerous(source: str) -> list[str]:
    """Calls in a text of Python that run what they read, or go through a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in ("eval", "exec", "compile", "os.system", "os.popen", "__import__"):
            found.append(name)
        if name.startswith(("pickle.", "marshal.", "shelve.", "dill.", "joblib.")):
            found.append(name)
        if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load") or name.endswith(".extractall"):
            found.append(name)
        if name == "torch.load" and given.get("weights_only") != "True":
            found.append(name)
        if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
            found.append(name)
        if given.get("shell", "False") != "False":
            found.append(f"{name}(shell=...)")
    return found


def test_nothing_runs_what_it_reads() -> None:
    assert {str(path): calls for path in FILES if (calls := dangerous(path.read_text()))} == {}


def test_what_would_run_is_found() -> None:
    text = "import pickle\npickle.loads(b)\nnp.load(f)\ntorch.load(f)\nrun(c, shell=True)\neval(x)\nyaml.load(t)\nt.extractall()"
    assert len(dangerous(text)) == 7
    assert dangerous("torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)\nmodel.eval()") == []


# --- files that would like to run ---


class Touches:
    """A pickle of it makes a file when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands work in; nothing may make the file `owned` in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pickles_are_not_read(here: Path, small_manifest: Path) -> None:
    (here / "images.pkl").write_bytes(pickle.dumps(Touches()))
    (here / "images.bin").write_bytes(pickle.dumps(([Touches()] * 2, [True])))
    np.save(here / "images.npy", np.array([Touches()], object), allow_pickle=True)
    np.savez(here / "images.npz", images=np.array([Touches()], object), labels=np.zeros(1))
    torch.save({"weights": Touches()}, here / "weights.pth")
    for source in ("images.pkl", "images.bin", "images.npy", "images.npz"):
        done = subspace("ingest", source, "--out", "m.parquet", cwd=here)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    with pytest.raises(InputError, match="nothing of it was run"):
        read_pair_list(here / "images.bin")
    done = subspace("init", "run", "--manifest", small_manifest, "--weights", "weights.pth", cwd=here)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not list(here.rglob("owned"))


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "${oc.decode:1}", "a${ oc.env:HOME }", "${${model}:HOME}", "${oc.create:{}}"]
)
@pytest.mark.parametrize("by_override", [False, True])
def test_settings_call_nothing(value: str, by_override: bool) -> None:
    values, overrides = {"manifest": value}, []
    if by_override:
        values, overrides = {"manifest": "m"}, [f"manifest={value}"]
    with pytest.raises(InputError, match="settings refer to settings") as error:
        parse_config(values, overrides, "subspace.yaml")
    assert os.environ["HOME"] not in str(error.value)


def test_settings_may_take_the_value_of_others() -> None:
    config = parse_config(
        {"manifest": "m", "plan": {"P": 12, "group_size": 4}, "pretrain": {"P": "${plan.P}"}}, [], "x"
    )
    assert config.pretrain.P == 12


@pytest.fixture
def with_code(here: Path) -> Path:
    """A checkpoint that names a module of the working folder, which leaves a file when it is imported."""
    (here / "their_code.py").write_text(
        "from subspace.train import build_backbone\nopen('owned', 'w').close()\n"
        "def network():\n    return build_backbone('small', embedding_size=8)\n"
    )
    from subspace.train import build_backbone

    network = build_backbone("small", embedding_size=8)
    network.spec = "python:their_code:network"
    config = {"manifest": "m.parquet", "model": network.spec, "allow_code": True}
    meta = CheckpointMeta(network.spec, embedding_size=8, step=0, fingerprint="theirs", config=config)
    save_checkpoint(here / "theirs", network, meta)
    return here / "theirs"


def test_a_checkpoint_imports_nothing_by_itself(with_code: Path, here: Path, small_manifest: Path) -> None:
    for command in (
        ("init", "run", "--manifest", small_manifest, "--model", "checkpoint:theirs"),
        ("eval", "theirs", "--manifest", small_manifest),
        ("export", "theirs", "--to", "safetensors"),
        ("inspect", "checkpoint:theirs"),
        ("embed", "theirs", small_manifest, "--out", "e.parquet"),
        ("index", small_manifest, "--network", "theirs", "--out", "i"),
        ("eval", "theirs", "--manifest", small_manifest, "--protocol", "identification"),
        ("inspect", "theirs"),
    ):
        done = subspace(*command, cwd=here)
        assert not (here / "owned").exists(), command
        if command != ("inspect", "theirs"):  # which reads what the checkpoint says, and no network
            said = [line for line in done.stderr.splitlines() if not line.startswith("subspace: warning: ")]
            assert (done.returncode, len(said)) == (2, 1), done.stderr
            assert "--allow-code" in said[0]
    with pytest.raises(InputError, match="python:their_code:network"):
        load_network(f"checkpoint:{with_code}")
    # A run allows its own checkpoint, as its stages do; a file beside a checkpoint allows nothing, nor does an index.
    (with_code / "subspace.yaml").write_text(f"manifest: {small_manifest}\nallow_code: true\n")
    assert not run_allows_code(str(with_code))
    with pytest.raises(InputError, match="--allow-code"):
        embed(with_code, [])
    options = Options(Console(quiet=True))
    with pytest.raises(InputError, match="--allow-code"):
        open_images(with_code, [], options, manifest=small_manifest, flip=False, allow_code=False)
    assert not (here / "owned").exists()


def test_its_code_is_called_when_that_is_allowed(with_code: Path, here: Path, small_manifest: Path) -> None:
    for command in (
        ("inspect", "checkpoint:theirs"),
        ("export", "theirs", "--to", "safetensors"),
        ("eval", "theirs", "--manifest", small_manifest),
        ("init", "run", "--manifest", small_manifest, "--model", "checkpoint:theirs", *QUICK_STEPS),
    ):
        (here / "owned").unlink(missing_ok=True)
        done = subspace(*command, "--allow-code", cwd=here)
        assert done.returncode == 0, done.stderr
        assert (here / "owned").exists(), command
    done = subspace("pretrain", "run", "pretrain.steps=0", cwd=here)  # init has written allow_code
    assert done.returncode == 0, done.stderr


# --- hostile names ---


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_hostile_names_stay_names(
    small_source: Path, here: Path, strict_umask: None, everything: bool
) -> None:
    """A whole run whose folder, identities and files are called what shells, terminals and pages would obey."""
    table = pq.read_table(small_source)
    first = table["identity"][0].as_py()
    names = [HOSTILE if name == first else name for name in table["identity"].to_pylist()]
    table = table.set_column(table.schema.get_field_index("identity"), "identity", pa.array(names))
    pq.write_table(table, here / "source.parquet")
    run = here / HOSTILE.replace("/", "")
    shown: list[str] = []
    lines: list[str] = []

    def call(*words: str | Path) -> str:
        done = subspace(*words, cwd=here)
        assert done.returncode == 0, done.stderr
        text = done.stdout + done.stderr.replace("\r", "\n")
        shown.append(text)
        if words[0] != "submit":  # whose scripts are as long as the names in them
            lines.extend(text.splitlines())
        return done.stdout

    call("ingest", "source.parquet", "--out", "m.parquet")
    call("init", run, "--manifest", "m.parquet", *QUICK_STEPS, "rounds=1")
    for scheduler in ("slurm", "kubernetes"):
        call("submit", run, f"schedule.scheduler={scheduler}", "--dry-run")
    call("run", run)
    call("status", run)
    for path in (here / "m.parquet", run / "round-000"):
        call("inspect", path)
    if everything:
        for path in [run / "subspace.yaml", *sorted((run / "round-000").glob("*"))]:
            call("inspect", path)
        call("status", run, "--watch")
        call("export", run, "--to", "safetensors", "--out", here / "export")
        call("overlap", "m.parquet", "m.parquet")
        call("clean", run)
        call("embed", run / "best", "m.parquet", "--out", run / "embeddings.parquet")
        call("index", run / "embeddings.parquet", "--out", here / "index")
    done = subspace("run", run, "plan.steps=9", cwd=here)
    remedy = re.search("`(subspace .*? --force)`", done.stderr)
    assert remedy
    assert str(run)[-9:] in done.stderr
    assert len(shlex.split(remedy[1])) == len(
        ["subspace", "plan", "RUN", "--round", "0", "plan.steps=9", "--force"]
    )
    assert all(character not in text for text in shown for character in "\x1b\x07\u202e\x9b"), (
        "a terminal obeys"
    )
    assert not [line for line in lines if line.startswith("\\x1b[2J")], "a name begins a line of its own"
    assert not list(here.rglob("owned"))
    loose = [
        path for path in here.rglob("*") if path.stat().st_mode & 0o027 and path.name != "source.parquet"
    ]
    assert loose == []
    unreadable = [path for path in here.rglob("*") if not path.stat().st_mode & 0o040]
    assert unreadable == [], "the group may read what the umask lets it"


def test_the_promises_are_written_down() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text()
    for word in ("--allow-code", "subspace.yaml", "make audit", "python:"):
        assert word in text

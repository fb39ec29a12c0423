"""Every file and folder of a run is read, damage is named by its own kind, and nothing ends in a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unicodedata import category

import pytest
from conftest import subspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining import InputError, StaleArtifactError
from subspace.pipeline.inspection.summarize import BY_NAME, BY_SUFFIX, summarize_path

NAMES = [*BY_NAME, *(f"file{suffix}" for suffix in BY_SUFFIX), "events.out.tfevents.1.host.2.0", "meta.json"]


def shown_parts(run: Path) -> list[Path]:
    """All files and folders of a run, but those of the projector, which TensorBoard alone reads."""
    return [
        path
        for path in sorted(run.rglob("*"))
        if "events" in path.name or not {"00000", "projector_config.pbtxt"} & {*path.parts}
    ]


def test_every_file_and_folder_of_a_run_is_summarised(finished_run: Path) -> None:
    kinds = set()
    for path in shown_parts(finished_run):
        summary = summarize_path(path)
        json.dumps(summary.to_json())
        assert summary.lines()[0] == f"{summary.path}: {summary.title}"
        for label, number, words in summary.shown:
            assert "_" not in label
            assert number or words
        kinds.add(summary.kind)
        assert not any("not of a run" in line for line in summary.lines())
        if path.suffix == ".parquet":
            assert summary.facts["fingerprint"]
    assert kinds == {
        "lock", "settings", "best", "folder", "checkpoint", "checkpoint_meta", "weights", "marker", "evaluation",
        "metrics", "events", "plan", "identities", "quarantine", "subspaces", "centroids", "duplicates", "tracked", "mistakes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("subspace.yaml", "YAML"),
        ("best.json", "cannot read"),
        ("start/metrics.jsonl", "line 1: it is not UTF-8"),
        ("start/checkpoint/model.safetensors", "safetensors"),
        ("round-000/subspaces.parquet", "Parquet"),
    ],
)
def test_a_damaged_file_is_called_damaged_by_its_own_kind(
    finished_run: Path, tmp_path: Path, name: str, kind: str
) -> None:
    copy = tmp_path / Path(name).name
    copy.write_bytes(b"{\xff: [1, 2\n" + (finished_run / name).read_bytes()[20:-20])
    with pytest.raises((InputError, StaleArtifactError), match=kind) as refused:
        summarize_path(copy)
    assert str(copy) in str(refused.value)
    assert ("Parquet" in str(refused.value)) == (copy.suffix == ".parquet")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    content=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.dictionaries(
                    st.sampled_from(["step", "loss", "metrics", "identities", "fingerprint", "ids", "stage", "spec",
                                     "seconds", "finished", "summary", "fields", "embedding_size", "tasks", "run",
                                     "scheduler", "network", "checkpoint", "metric", "validations", "manifest",
                                     "apiVersion", "kind", "command", "pid", "host", "since", "seconds_data"]),
                    inner,
                    max_size=9,
                ),
            ),
        ).map(lambda value: json.dumps(value).encode() + b"\n"),
    ),
)  # fmt: skip
def test_any_bytes_are_summarised_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with suppress(InputError, StaleArtifactError):
        obeyed = {"Cc", "Cs", "Zl", "Zp"}  # a letter for private use is drawn, as well as can be
        assert not any(category(letter) in obeyed for line in summarize_path(path).lines() for letter in line)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_refuses_bytes_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x93\x00\xffnothing")
    done = subspace("inspect", path)
    expected = {".log": 0, ".out": 0}.get(path.suffix, 3 if name == "overrides.json" else 2)
    assert done.returncode == expected
    assert len((done.stderr or done.stdout.splitlines()[0]).splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_what_is_no_file_of_a_run_is_refused(tmp_path: Path, small_source: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "other.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("picture.png", "inspect reads a run or a folder of it, Parquet"),
        ("other.json", "no document of a run"),
        ("nothing", "does not exist"),
        ("pipe", "neither a file nor a folder"),
        ("", "holds nothing of a run"),
    ):
        with pytest.raises(InputError, match=words):
            summarize_path(tmp_path / name)


def test_a_parquet_table_is_known_without_its_suffix(finished_run: Path, tmp_path: Path) -> None:
    copy = shutil.copy(finished_run / "round-000" / "subspaces.parquet", tmp_path / "subspaces.parquet.bak")
    assert summarize_path(Path(copy)).kind == "subspaces"


def test_it_imports_neither_torch_nor_faiss(finished_run: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from subspace.pipeline.inspection.summarize import summarize_path\n"
        f"for path in map(Path, {list(map(str, shown_parts(finished_run)))!r}):\n"
        "    if path.name != 'subspace.yaml':\n        summarize_path(path)\n"
        "heavy = {'torch', 'faiss'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_table_is_is_known_before_its_rows_are_read(finished_run: Path) -> None:
    begun: list[tuple[str, int]] = []
    for name in ("subspaces.parquet", "plan"):
        path = finished_run / "round-000" / name
        summary = summarize_path(path, lambda one: begun.append((one.first_line, len(one.shown))))
        assert begun.pop() == (summary.lines()[0], 0)
    summarize_path(finished_run / "subspace.yaml", lambda one: begun.append(("", 0)))
    assert begun == []

"""Object storage is refused with one line, wherever a path comes in that is written to."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import subspace

from subspace.mining.errors import InputError
from subspace.mining.local_paths import refuse_url


@pytest.mark.parametrize("path", ["s3://bucket/a b", "gs://x", "https://host/x", "hf://datasets/x"])
def test_a_url_is_named_in_full_even_as_a_path(path: str) -> None:
    for given in (path, Path(path)):
        with pytest.raises(InputError, match=f"^{path} is a URL"):
            refuse_url(given)


@pytest.mark.parametrize("path", ["photos", "/data/a:b/c", "a=b:c", "c:x", "runs/s3://x", "U+0041:/x/é"])
def test_a_path_of_a_file_system_is_not(path: str) -> None:
    refuse_url(path)


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "images.csv", "--out", "s3://bucket/m.parquet"),
        ("ingest", "images.csv", "--out=s3://bucket/m.parquet"),
        ("ingest", "memory://bucket/images.csv", "--quiet", "--out", "s3://bucket/m.parquet"),
        ("init", "s3://bucket/run", "--manifest", "m.parquet"),
        ("run", "s3://bucket/run"),
    ],
)
def test_commands_refuse_it_and_write_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("identity,path\na,x.jpg\n")
    done = subspace(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "s3://bucket/" in done.stderr
    assert "is a URL" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]


def test_a_checkpoint_in_an_absolute_folder_is_none(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    model = f"checkpoint:{finished_run}/round-001/checkpoint"
    done = subspace("init", tmp_path / "run", "--manifest", small_manifest, f"--model={model}")
    assert done.returncode == 0, done.stderr

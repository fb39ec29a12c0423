"""The command on small lists and fonts: what a set holds, the same bytes again, and going on after a kill."""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from folder_checksums import checksums
from make_words import run
from PIL import Image
from word_shards import WordShard, write_shard

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.console import Console
from subspace.train.data.images import ImageStore

from .conftest import RECIPE


def make_words(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE / "make_words.py"), "tiny", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def sources(folder: Path) -> list[str | Path]:
    return ["--lists", folder / "lists", "--fonts", folder / "fonts"]


@pytest.fixture(scope="module")
def built(word_sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set, made by two processes."""
    out = tmp_path_factory.mktemp("words") / "set"
    done = make_words(*sources(word_sources), "--out", out, "--processes", "2")
    assert done.returncode == 0, done.stderr
    announced, held = done.stdout.splitlines()[:2]
    assert re.match(r"tiny: 540 of 2\d,\d\d\d words, at most 1,980 images, ", announced)
    for said in ("second", "with --processes 2", "of disk (", "of memory"):
        assert said in announced
    assert "images of 540 identities, 6 faces, 5 families" in held
    return out


def test_the_manifest_is_one_of_ours_and_its_images_decode(built: Path) -> None:
    manifest = Manifest.open(built / "manifest.parquet")
    table = manifest.table
    assert MANIFEST.problem_with(table.schema) is None
    names = table["identity"].to_pylist()
    assert names == sorted(names)
    store = ImageStore(manifest)
    for image_id in range(0, len(manifest), 61):
        with Image.open(io.BytesIO(store.read(image_id))) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (128, 32), "L")
            ink = np.asarray(image) > 64
        assert ink.sum() > 20 * len(names[image_id]) / 2
        assert not ink[:, 0].any()
        assert not ink[:, -1].any()


def test_an_identity_has_images_of_as_many_families_as_it_is_to_have(built: Path) -> None:
    manifest = Manifest.open(built / "manifest.parquet")
    wanted = {"train": 4, "pretrain": 4, "val": 4, "test": 4, "distractor": 1}
    table = manifest.table.to_pydict()
    of: dict[str, list[str]] = {}
    for word, group in zip(table["identity"], table["group"], strict=True):
        of.setdefault(word, []).append(group)
    for word, split in zip(table["identity"], table["split"], strict=True):
        assert len(set(of[word])) == len(of[word])
        least = 2 if split == "train" else wanted[split]  # DejaVu and STIX alone have the other letters
        assert least <= len(of[word]) <= wanted[split]


def test_words_and_faces_point_at_the_manifest(built: Path) -> None:
    table = pq.read_table(built / "manifest.parquet")
    faces = list(csv.DictReader((built / "faces.csv").open(newline="")))
    drawn_by = pq.read_table(built / "image_faces.parquet")["face"].to_pylist()
    assert [faces[face]["family"] for face in drawn_by] == table["group"].to_pylist()
    assert [int(face["images"]) for face in faces] == np.bincount(drawn_by, minlength=len(faces)).tolist()
    letters = [set(face["letters"]) for face in faces]
    assert all(
        set(word) <= letters[face] for word, face in zip(table["identity"].to_pylist(), drawn_by, strict=True)
    )
    words = pq.read_table(built / "words.parquet").to_pylist()
    names = dict(zip(table["identity_id"].to_pylist(), table["identity"].to_pylist(), strict=True))
    assert [names[row["identity_id"]] for row in words] == [row["identity"] for row in words]
    assert {name for row in words for name in row["lists"].split()} == {"first", "second", "third"}
    assert all((row["lists"] == "third") == (row["identity"][0] > "z") for row in words)


def test_rebuilding_gives_the_same_bytes_with_another_number_of_processes(
    built: Path, word_sources: Path, tmp_path: Path
) -> None:
    shutil.copytree(word_sources, tmp_path / "elsewhere")
    arguments = ("--out", tmp_path / "set", "--processes", "1", "--quiet")
    done = make_words(*sources(tmp_path / "elsewhere"), *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checksums(tmp_path / "set") == checksums(built)


def test_a_build_goes_on_with_what_is_there_and_ends_alike(
    built: Path, word_sources: Path, tmp_path: Path
) -> None:
    whole = checksums(built)
    out = tmp_path / "set"
    shutil.copytree(built, out)
    (shard,) = out.glob("shards-*/*.pngs")
    (out / "manifest.parquet").unlink()
    (out / "shards-of-other-fonts").mkdir()
    shard.with_name(f".{shard.name}.1.tmp").touch()
    shard.with_suffix(".npy").unlink()  # as if killed between the two files of a shard
    shard.write_bytes(b"half")
    done = make_words(*sources(word_sources), "--out", out, "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert checksums(out) == whole


def told(folder: Path, word_sources: Path, out: Path) -> argparse.Namespace:
    return argparse.Namespace(
        size="tiny", lists=folder, fonts=word_sources / "fonts", out=out, work=None, processes=1, dry_run=True
    )


def test_a_dry_run_says_what_is_left_and_writes_nothing(
    built: Path, word_sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checksums(built)
    how_long = r"(less than a second|about [1-9](\.5)? seconds?) with"  # as quick as the machine is
    for out, left in (
        (built, f" images, 0 of them to draw, {how_long}"),
        (tmp_path / "set", f" images, {how_long}"),
    ):
        run(told(word_sources / "lists", word_sources, out), Console())
        assert re.search(left, capsys.readouterr().out)
    assert checksums(built) == before
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_said_before_it_begins(
    word_sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("word_costs.shutil.disk_usage", lambda _: argparse.Namespace(free=100_000))
    with pytest.raises(InputError, match=r"takes 1\.\d MB, and 100\.0 kB are free; make room"):
        run(told(word_sources / "lists", word_sources, tmp_path / "set"), Console(quiet=True))


def test_a_shard_that_is_written_is_left_alone(tmp_path: Path) -> None:
    shard = WordShard(tmp_path / "0000.pngs", 0, "word", b"\4", ())
    shard.path.with_suffix(".npy").touch()
    assert write_shard(shard) == shard.path
    assert not shard.path.exists()


def test_a_bad_list_is_one_line(tmp_path: Path, word_sources: Path) -> None:
    (tmp_path / "a").write_bytes(b"word\0\n")
    done = make_words("--lists", tmp_path, "--fonts", word_sources / "fonts", "--out", tmp_path / "set")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path / 'a'} is no text (it has a zero byte); give a text file with a word a line\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a\nO'Neil\nno one\n", r"a \(UTF-8\) holds no word of 3 to 16 letters"),
        (
            "".join(f"abc{a}{b}\n" for a in "abcd" for b in "abcd"),
            "16 words in 1 lists leave none to train on",
        ),
    ],
)
def test_lists_without_enough_words_say_so(
    words: str, message: str, tmp_path: Path, word_sources: Path
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a").write_text(words)
    with pytest.raises(InputError, match=message):
        run(told(tmp_path / "lists", word_sources, tmp_path / "set"), Console(quiet=True))


def test_fonts_without_faces_say_so(tmp_path: Path, word_sources: Path) -> None:
    (tmp_path / "empty.ttf").touch()
    options = told(word_sources / "lists", word_sources, tmp_path / "set")
    options.fonts = tmp_path
    with pytest.raises(InputError, match=r"empty\.ttf and 0 other files hold no face with all letters"):
        run(options, Console(quiet=True))

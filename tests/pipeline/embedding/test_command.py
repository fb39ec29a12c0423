"""`subspace embed` as a user calls it, on real glyphs: what it writes, resumes, refuses and says.

Covers pipeline/commands/embeddings.py, pipeline/embedding/embed_images.py, pipeline/embedding/embedding_parts.py,
pipeline/embedding/joined_parts.py and pipeline/embedding/request.py, too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import subspace
from made_up_runs import finish
from PIL import Image

from subspace.mining import EmbeddingTable, InputError, Manifest, StaleArtifactError, StoppedEarly
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline import embed as embed_in_memory
from subspace.pipeline.child_processes import PARENT
from subspace.pipeline.console import Console
from subspace.pipeline.embedding import command, embed_images, embedding_parts, listed_images
from subspace.pipeline.embedding.command import run_embedding
from subspace.pipeline.embedding.request import EmbedRequest
from subspace.pipeline.options import Options
from subspace.pipeline.protocols.opening import open_images
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.parts import Shard
from subspace.train import (
    CheckpointMeta,
    DecodedBatches,
    ImageChunks,
    ImageStore,
    build_backbone,
    embed,
    load_batches,
    load_network,
    save_checkpoint,
)

QUIET = Options(Console(quiet=True), "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network") / "checkpoint"
    network = build_backbone("small", embedding_size=16, seed=3)
    save_checkpoint(folder, network, CheckpointMeta("small", embedding_size=16, step=0, fingerprint="mine"))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four people, 3 pictures each."""
    for number in range(12):
        path = tmp_path / "photos" / f"p{number // 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 4 images."""
    for module in (listed_images, embedding_parts):
        monkeypatch.setattr(module, "PART_IMAGES", 4)


def asked(checkpoint: Path, source: Path, out: Path, **given: object) -> EmbedRequest:
    return EmbedRequest(str(checkpoint), (source,), out, **{"num_workers": 0, **given})  # pyright: ignore[reportArgumentType]


def images_inside(photos: Path, table: Path) -> Path:
    """A table that holds the photos' bytes, and says whose they are."""
    files = sorted(photos.rglob("*.png"))
    columns = {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
    pq.write_table(pa.table(columns), table)
    return table


def by_hand(checkpoint: Path, manifest: Path, **given: bool) -> np.ndarray:
    """What the batches of the library come to."""
    opened = Manifest.open(manifest)
    network = load_network(f"checkpoint:{checkpoint}")
    batches = DecodedBatches(ImageStore(opened), ImageChunks(np.arange(len(opened)), 256), network.input)
    found = embed(
        network, load_batches(batches, range(-(-len(opened) // 256)), 0), torch.device("cpu"), **given
    )
    return np.concatenate([np.array(one.embeddings) for one in found])


@pytest.mark.parametrize(("flip", "normalize"), [(False, True), (True, True), (True, False)])
def test_a_manifest_comes_out_as_the_library_embeds_it(
    checkpoint: Path, small_manifest: Path, tmp_path: Path, flip: bool, normalize: bool
) -> None:
    out = tmp_path / "e.parquet"
    done = run_embedding(asked(checkpoint, small_manifest, out, flip=flip, normalize=normalize), QUIET)
    table, rows = EmbeddingTable.open(out), pq.read_table(small_manifest)
    expected = by_hand(checkpoint, small_manifest, flip=flip, normalize=normalize)
    assert np.abs(table.read() - expected).max() < 1e-6
    assert table.normalized == normalize
    assert done["rows"] == len(rows) == table.rows
    for name in ("identity", "split", "group"):
        column = table.column(name)
        assert column is not None
        assert column.to_pylist() == rows[name].to_pylist()
    assert not out.with_name("e.parquet.parts").exists()


def test_the_flip_is_the_mean_of_both(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored"
    for path in photos.rglob("*.png"):
        target = mirrored / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(target)
    raw = {"normalize": False}
    for name, source, flip in (("one", photos, False), ("other", mirrored, False), ("both", photos, True)):
        run_embedding(asked(checkpoint, source, tmp_path / f"{name}.parquet", flip=flip, **raw), QUIET)
    one, other, both = (
        EmbeddingTable.open(tmp_path / f"{name}.parquet").read() for name in ("one", "other", "both")
    )
    assert np.allclose(both, (one + other) / 2, atol=1e-5)


@pytest.mark.slow
def test_extract_has_the_same_embeddings(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    done = subspace("extract", run, "--round", "0", "extract.keep_embeddings=true", "--force", "--quiet")
    assert done.returncode == 0, done.stderr
    kept = pq.read_table(run / "round-000" / "embeddings.parquet")
    manifest = Manifest.open(_manifest_of(run))
    out = tmp_path / "e.parquet"
    run_embedding(
        asked(run / "start" / "checkpoint", manifest.path, out, dtype="float16", batch_size=64), QUIET
    )
    ours = EmbeddingTable.open(out).read()
    kept_rows = np.flatnonzero(manifest.keep)
    place = {int(row): number for number, row in enumerate(kept_rows)}
    theirs = kept["embedding"].combine_chunks().flatten().to_numpy().reshape(len(kept), -1)
    chosen = [place[row] for row in kept["image_id"].to_pylist()]
    assert np.abs(ours[chosen] - theirs.astype(np.float32)).max() < 2e-3  # float16


def _manifest_of(run: Path) -> str:
    from subspace.pipeline import load_config

    return load_config(run / "subspace.yaml").manifest


def test_a_folder_says_identities_and_a_flat_one_none(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    run_embedding(asked(checkpoint, photos, tmp_path / "a.parquet"), QUIET)
    labelled = EmbeddingTable.open(tmp_path / "a.parquet")
    image = labelled.column("image")
    assert image is not None
    assert image.to_pylist() == sorted(map(str, photos.rglob("*.png")))
    assert [labelled.identity_id()[1][code] for code in labelled.identity_id()[0]] == [
        Path(path).parent.name for path in image.to_pylist()
    ]
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in photos.rglob("*.png"):
        shutil.copy(path, flat)
    done = subspace("embed", checkpoint, flat, "--out", tmp_path / "b.parquet", "--num-workers", "0")
    assert done.returncode == 0, done.stderr
    assert "embedded without identities" in done.stdout
    offered = subspace("embed", "--help").stdout
    assert [word for word in re.findall(r"--[a-z-]+", done.stdout) if word not in offered] == []
    table = EmbeddingTable.open(tmp_path / "b.parquet")
    assert table.columns == ("image",)
    assert np.array_equal(np.sort(table.read(), 0), np.sort(labelled.read(), 0))


def test_npy_has_rows_and_a_file_that_tells_them_apart(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    files = sorted(photos.rglob("*.png"))[::-1]
    request = EmbedRequest(str(checkpoint), tuple(files), tmp_path / "e.npy", dtype="float16", num_workers=0)
    run_embedding(request, QUIET)
    rows = np.load(tmp_path / "e.npy")
    assert (rows.dtype, rows.shape) == (np.float16, (12, 16))
    image = EmbeddingTable.open(tmp_path / "e.npy").column("image")
    assert image is not None
    assert image.to_pylist() == list(map(str, files))  # as given
    assert run_embedding(request, QUIET)["done"]


@pytest.mark.parametrize(("suffix", "inside"), [(".parquet", False), (".npy", False), (".parquet", True)])
@pytest.mark.usefixtures("small_parts")
def test_killed_anywhere_it_ends_in_equal_bytes(
    checkpoint: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    inside: bool,
) -> None:
    photos = images_inside(photos, tmp_path / "t.parquet") if inside else photos
    outs = tmp_path / f"whole{suffix}", tmp_path / f"stopped{suffix}"
    run_embedding(asked(checkpoint, photos, outs[0]), QUIET)
    made, whole = [], embed_images.write_parquet

    def dies(*arguments: object) -> None:
        made.append(arguments)
        if len(made) == 2:
            raise StoppedEarly("killed")
        whole(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(embed_images, "write_parquet", dies)
    with pytest.raises(StoppedEarly):
        run_embedding(asked(checkpoint, photos, outs[1]), QUIET)
    parts = sorted(path.name for path in outs[1].with_name(f"{outs[1].name}.parts").glob("embeddings-*"))
    assert parts == ["embeddings-00000-of-00003.parquet"]
    run_embedding(asked(checkpoint, photos, outs[1]), QUIET)
    assert len(made) == 4  # the first part was not made again
    for name in ("", ".rows.parquet")[: 1 + (suffix == ".npy")]:
        one, other = (path.with_suffix(name) if name else path for path in outs)
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.usefixtures("small_parts")
def test_shards_make_the_parts_and_the_command_joins_them(
    checkpoint: Path, photos: Path, tmp_path: Path, inside: bool
) -> None:
    photos = images_inside(photos, tmp_path / "t.parquet") if inside else photos
    run_embedding(asked(checkpoint, photos, tmp_path / "whole.parquet"), QUIET)
    request = asked(checkpoint, photos, tmp_path / "e.parquet")
    for index in (1, 0):
        assert run_embedding(request, QUIET, Shard(index, 2))["open"]
    assert not request.out.exists()
    damaged = request.parts / "embeddings-00001-of-00003.parquet"
    content = bytearray(damaged.read_bytes())
    content[60] ^= 255
    damaged.write_bytes(content)
    with pytest.raises(StaleArtifactError, match="run the same command"):
        run_embedding(request, QUIET)
    run_embedding(request, QUIET)
    assert request.out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.slow
def test_processes_make_the_same_file(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    given = ("embed", checkpoint, photos, "--num-workers", "0", "--device", "cpu")
    assert subspace(*given, "--out", one).returncode == 0
    done = subspace(*given, "--out", two, "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.usefixtures("small_parts")
def test_processes_make_a_file_again_by_force(
    checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(checkpoint, photos, tmp_path / "e.parquet")
    run_embedding(request, QUIET)

    def in_this_process(parts: embedding_parts.EmbeddingParts, *_: object) -> None:
        with monkeypatch.context() as child:
            child.setenv(PARENT, str(os.getppid()))
            for index in (0, 1):
                run_embedding(request, QUIET, Shard(index, 2))
        assert not parts.missing()

    monkeypatch.setattr(command, "end_with_parent", lambda: None)
    monkeypatch.setattr(embed_images, "make_in_processes", in_this_process)
    by_force = Options(Console(quiet=True), "cpu", force=True, processes=2)
    for flip in (False, True):
        request = asked(checkpoint, photos, request.out, flip=flip)
        assert run_embedding(request, by_force)["rows"] == 12
        assert run_embedding(request, QUIET)["done"]


@pytest.mark.usefixtures("small_parts")
def test_parts_of_something_else_are_refused(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    request = asked(checkpoint, photos, tmp_path / "e.parquet")
    run_embedding(request, QUIET, Shard(0, 2))
    with pytest.raises(StaleArtifactError, match=r"flip=False, now it is True.*--force"):
        run_embedding(asked(checkpoint, photos, request.out, flip=True), QUIET)
    other = tmp_path / "other"
    network = build_backbone("small", embedding_size=16, seed=4)
    save_checkpoint(other, network, CheckpointMeta("small", embedding_size=16, step=0, fingerprint="mine"))
    with pytest.raises(StaleArtifactError, match="begun with network="):
        run_embedding(asked(other, photos, request.out), QUIET)
    with pytest.raises(StaleArtifactError, match=r"--force in place of --shard and --num-shards"):
        run_embedding(asked(checkpoint, photos, request.out, flip=True), QUIET, Shard(1, 2))
    next(photos.rglob("*.png")).unlink()
    with pytest.raises(StaleArtifactError, match="begun with images="):
        run_embedding(request, QUIET)
    again = Options(Console(quiet=True), "cpu", force=True)
    assert run_embedding(request, again)["rows"] == 11
    with pytest.raises(StaleArtifactError, match="was made with dtype=float32, now it is float16"):
        run_embedding(asked(checkpoint, photos, request.out, dtype="float16"), QUIET)


def test_other_images_inside_a_table_are_no_old_ones(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "t.parquet", tmp_path / "e.parquet"
    run_embedding(asked(checkpoint, images_inside(photos, table), out), QUIET)
    assert run_embedding(asked(checkpoint, table, out), QUIET)["done"]
    last = sorted(photos.rglob("*.png"))[-1]
    shutil.copy(next(photos.rglob("0.png")), last)
    with pytest.raises(StaleArtifactError, match="was made with images="):
        run_embedding(asked(checkpoint, images_inside(photos, table), out), QUIET)


def test_killed_before_the_unreadable_are_listed_it_lists_them(
    checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next(photos.rglob("*.png")).write_bytes(b"no image")
    request = asked(checkpoint, photos, tmp_path / "e.parquet", max_bad_fraction=1)

    def dies(*_: object) -> None:
        raise StoppedEarly("killed")

    with monkeypatch.context() as killed:
        killed.setattr(embed_images, "write_unreadable", dies)
        with pytest.raises(StoppedEarly):
            run_embedding(request, QUIET)
    run_embedding(request, QUIET)
    assert pq.read_metadata(tmp_path / "e.quarantine.parquet").num_rows == 1


def test_unreadable_images_are_listed(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    bad = sorted(photos.rglob("*.png"))[4]
    bad.write_bytes(b"no image")
    out = tmp_path / "e.parquet"
    done = run_embedding(asked(checkpoint, photos, out), QUIET)
    assert (done["rows"], done["unreadable"]) == (11, 1)
    listed = pq.read_table(tmp_path / "e.quarantine.parquet")
    assert listed.schema.names == QUARANTINE.columns.names
    assert listed["uri"].to_pylist() == [str(bad)]
    image = EmbeddingTable.open(out).column("image")
    assert image is not None
    assert str(bad) not in image.to_pylist()
    for path in photos.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(StoppedEarly, match=r"--max-bad-fraction 0\.01"):
        run_embedding(asked(checkpoint, photos, tmp_path / "f.parquet"), QUIET)


@pytest.mark.slow
def test_onnx_and_torch_agree(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = subspace("export", checkpoint, "--to", "onnx", "--out", tmp_path / "export", "--quiet")
    assert done.returncode == 0, done.stderr
    for name, network in (("torch", str(checkpoint)), ("onnx", f"onnx:{tmp_path / 'export' / 'model.onnx'}")):
        request = EmbedRequest(network, (photos,), tmp_path / f"{name}.parquet", num_workers=0)
        run_embedding(request, QUIET)
    one, other = (EmbeddingTable.open(tmp_path / f"{name}.parquet") for name in ("torch", "onnx"))
    assert np.abs(one.read() - other.read()).max() < 1e-4
    assert one.network != other.network


def test_a_dry_run_writes_nothing_and_says_the_cost(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = subspace("embed", checkpoint, photos, "--out", tmp_path / "e.parquet", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 12
    assert "of memory" in done.stderr
    assert "of disk" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": Path("e.csv")}, "ends in .parquet or .npy"),
        ({"network": "iresnet18"}, "drawn at random; give --weights FILE"),
        ({"network": "nowhere"}, "no folder of a run or checkpoint, nor a network"),
        ({"sources": (Path("nowhere"),)}, "nowhere does not exist"),
        ({"splits": ("test",)}, "has no splits"),
        ({"dtype": "int8"}, "--dtype int8: give float32 or float16"),
        ({"precision": "quick"}, "precision"),
        ({"preprocess": ("mean",)}, "give KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    checkpoint: Path, photos: Path, tmp_path: Path, given: dict[str, object], message: str
) -> None:
    plain = {"network": str(checkpoint), "sources": (photos,), "out": tmp_path / "e.parquet"}
    with pytest.raises(InputError, match=message) as refused:
        run_embedding(EmbedRequest(**{**plain, **given}), QUIET)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(refused.value)


def test_a_run_that_allows_code_embeds_by_its_own_network(
    small_manifest: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stages obeyed the setting; `embed` and `eval --protocol` named it, and did not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_a_run.py").write_text(
        "from subspace.train import build_backbone\n\ndef net():\n    return build_backbone('small', embedding_size=8)\n"
    )
    run, spec = RunDirectory(tmp_path / "run"), "python:nets_of_a_run:net"
    network = build_backbone(spec)
    save_checkpoint(run.start.checkpoint, network, CheckpointMeta(spec, 8, step=0, fingerprint="0"))
    finish(run.start, "pretrain")
    run.config.write_text(f"manifest: {small_manifest}\nmodel: {spec}\n")
    words = ("embed", run.path, photos, "--out", tmp_path / "e.parquet", "--num-workers", "0")
    done = subspace(*words)
    assert (done.returncode, "allow it: --allow-code" in done.stderr) == (2, True)
    run.config.write_text(f"manifest: {small_manifest}\nmodel: {spec}\nallow_code: true\n")
    done = subspace(*words)
    assert done.returncode == 0, done.stderr
    assert embed_in_memory(run.path, []).shape == (0, 8)
    given = {"manifest": small_manifest, "flip": False, "allow_code": False}
    assert open_images(run.path, [], QUIET, **given).dimensions == 8


def test_a_foreign_file_is_not_overwritten(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        run_embedding(asked(checkpoint, photos, tmp_path / "e.parquet"), QUIET)


def test_a_number_of_shards_needs_a_shard(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    done = subspace("embed", checkpoint, photos, "--out", tmp_path / "e.parquet", "--num-shards", "2")
    assert (done.returncode, done.stderr) == (
        2,
        "subspace: --num-shards 2: say which of them, --shard 0 to 1\n",
    )


def test_a_second_command_for_one_file_is_refused(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    request = EmbedRequest(str(checkpoint), (photos,), tmp_path / "e.parquet", num_workers=0)
    with (
        RunDirectory(request.parts).locked("embed"),
        pytest.raises(InputError, match="in use by `subspace embed`"),
    ):
        run_embedding(request, QUIET)
    half = tmp_path / ".e.parquet.999999999.tmp"  # of one that was killed
    half.touch()
    run_embedding(request, QUIET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.parquet", "photos"]


def test_a_wrong_request_leaves_nothing_behind(checkpoint: Path, tmp_path: Path) -> None:
    request = EmbedRequest(str(checkpoint), (tmp_path / "nowhere",), tmp_path / "e.parquet", num_workers=0)
    with pytest.raises(InputError, match="nowhere"):
        run_embedding(request, QUIET)
    assert not list(tmp_path.iterdir())

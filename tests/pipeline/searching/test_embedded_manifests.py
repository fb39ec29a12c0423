"""Manifests embedded for an index: killed and continued, by networks that need options; and what is announced.

Covers pipeline/searching/index_cost.py, pipeline/searching/network_of_index.py, pipeline/searching/search_cost.py,
pipeline/searching/search_request.py, too.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from PIL import Image
from safetensors.torch import save_file

from subspace.mining import InputError, StaleArtifactError
from subspace.mining.artifacts import unwritable
from subspace.pipeline.console import Console
from subspace.pipeline.embedding import embed_images, embedding_parts, listed_images
from subspace.pipeline.options import Options
from subspace.pipeline.searching import index_request
from subspace.pipeline.searching.answer_queries import SearchRequest, answer_all
from subspace.pipeline.searching.index_folder import open_folder
from subspace.pipeline.searching.index_request import IndexRequest, index_rows
from subspace.pipeline.searching.network_of_index import NetworkOptions
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions
from subspace.train import CheckpointMeta, build_backbone, save_checkpoint

QUIET = Console(quiet=True)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three people, 4 pictures each, in parts of 4."""
    for number in range(12):
        path = tmp_path / "photos" / f"p{number // 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    ingest_images(tmp_path / "photos", tmp_path / "photos.parquet", IngestOptions())
    return tmp_path / "photos.parquet"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    made = build_backbone("small", embedding_size=8, seed=0)
    save_checkpoint(tmp_path / "net", made, CheckpointMeta("small", 8, step=0, fingerprint="0"))
    return tmp_path / "net"


class Killed(BaseException):
    """What no handler catches."""


def test_a_killed_index_goes_on_with_the_parts_that_are_there(
    manifest: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (listed_images, embedding_parts):
        monkeypatch.setattr(module, "PART_IMAGES", 4)
    embed_part, made = embed_images.ImageEmbedding._embed_part, []

    def counted(self: embed_images.ImageEmbedding, part: int, *rest: object) -> None:
        if len(made) == 2:
            raise Killed
        embed_part(self, part, *rest)  # pyright: ignore[reportArgumentType]
        made.append(part)

    monkeypatch.setattr(embed_images.ImageEmbedding, "_embed_part", counted)
    request = IndexRequest(manifest, tmp_path / "index", network=str(network))
    with pytest.raises(Killed):
        index_rows(request, Options(QUIET))
    monkeypatch.setattr(embed_images.ImageEmbedding, "_embed_part", embed_part)
    made.clear()
    monkeypatch.setattr(
        embed_images.ImageEmbedding,
        "_embed_part",
        lambda self, part, *rest: (made.append(part), embed_part(self, part, *rest))[0],
    )
    index_rows(request, Options(QUIET))
    assert made == [2]
    index_rows(IndexRequest(manifest, tmp_path / "whole", network=str(network)), Options(QUIET))
    continued, whole = (open_folder(tmp_path / name).gallery.images.rows for name in ("index", "whole"))
    assert (continued == whole).all()
    assert not list(tmp_path.glob("*embedded*"))


def test_parts_of_another_network_are_made_anew(
    manifest: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = tmp_path / "index.embedded.parquet.parts"
    parts.mkdir()
    (parts / "begun.json").write_text('{"network": "another"}')
    (parts / "embeddings-00000-of-00001.parquet").touch()
    index_rows(IndexRequest(manifest, tmp_path / "index", network=str(network)), Options(Console()))
    assert "made anew: " in capsys.readouterr().out
    assert open_folder(tmp_path / "index").record.images == 12


def test_a_manifest_that_another_program_wrote_is_refused_as_by_the_dry_run(
    manifest: Path, network: Path, tmp_path: Path
) -> None:
    """Its images with keep=false came into the index."""
    table = pq.read_table(manifest)
    keep = pa.array(np.arange(12) % 4 > 0)
    table = table.set_column(table.schema.get_field_index("keep"), "keep", keep)
    pq.write_table(table.replace_schema_metadata(None), manifest)
    request = IndexRequest(manifest, tmp_path / "index", network=str(network))
    for dry_run in (True, False):
        with pytest.raises(
            StaleArtifactError, match=r"photos\.parquet carries no fingerprint.*subspace ingest"
        ):
            index_rows(request, Options(QUIET, dry_run=dry_run))
    assert not (tmp_path / "index").exists()


def test_a_manifest_that_is_refused_is_named_and_leaves_nothing(
    manifest: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index_rows(IndexRequest(manifest, index, network=str(network)), Options(QUIET))
    again = IndexRequest(index, append=(manifest,), network=str(network))
    with pytest.raises(InputError, match=r"has image '.*0\.png' of .*photos\.parquet already") as refused:
        index_rows(again, Options(QUIET))
    assert "embedded" not in str(refused.value)
    assert not list(tmp_path.glob("*embedded*"))
    with monkeypatch.context() as patch:
        patch.setattr(index_request, "_opened", None)  # before anything is embedded
        with pytest.raises(InputError, match="has no identity 'nobody'"):
            index_rows(IndexRequest(index, append=(manifest,), delete=("nobody",)), Options(QUIET))
    full = unwritable(index, OSError(28, "No space left on device"))
    full.__cause__ = OSError(28, "No space left on device")

    def fail(*_: object, **__: object) -> None:
        raise full

    monkeypatch.setattr(index_request, "change_index", fail)
    with pytest.raises(InputError, match="No space left"):
        index_rows(IndexRequest(index, append=(manifest,), delete=("p0",)), Options(QUIET))
    assert list(tmp_path.glob("*embedded.parquet"))  # what took hours serves on when there is room


def test_a_network_of_another_size_is_refused_before_it_embeds(
    manifest: Path, network: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", np.eye(3, dtype=np.float32))
    index_rows(IndexRequest(tmp_path / "rows.npy", tmp_path / "index"), Options(QUIET))
    with pytest.raises(StaleArtifactError, match=r"makes embeddings of 8 numbers, .*index has 3"):
        index_rows(IndexRequest(tmp_path / "index", append=(manifest,), network=str(network)), Options(QUIET))
    assert not list(tmp_path.glob("*embedded*"))


def test_queries_are_embedded_with_the_options_of_the_index(manifest: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("small", embedding_size=128, seed=3).state_dict(), weights)
    index = tmp_path / "index"
    asked = IndexRequest(manifest, index, network="small", weights=str(weights), preprocess=("mean=0.3",))
    index_rows(asked, Options(QUIET))
    photos = (tmp_path / "photos",)
    answers = answer_all(SearchRequest(index, photos), QUIET)
    assert [answer.matches[0].image for answer in answers] == [answer.query for answer in answers]
    assert all(answer.matches[0].similarity > 0.9999 for answer in answers)
    other = NetworkOptions("small", str(weights), ("mean=0.4",))
    with pytest.raises(StaleArtifactError, match="with its --weights and --preprocess"):
        answer_all(SearchRequest(index, photos, network=other), QUIET)
    record = json.loads((index / "index.json").read_text())
    assert (record["weights"], record["preprocess"]) == (str(weights), ["mean=0.3"])
    index_rows(IndexRequest(index, delete=("p0",)), Options(QUIET))
    assert open_folder(index).record.preprocess == ["mean=0.3"]


def test_dry_runs_say_what_it_takes_and_write_nothing(
    manifest: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, before = tmp_path / "index", sorted(tmp_path.iterdir())
    command = ["index", str(manifest), "--out", str(index), "--network", str(network)]
    done = subspace(*command, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"dry_run": True, "images": 12, "identities": 3, "dimensions": 8}
    assert "embed: 12 images on" in done.stderr
    assert "index: 12 images of 3 identities, " in done.stderr
    assert sorted(tmp_path.iterdir()) == before
    index_rows(IndexRequest(manifest, index, network=str(network)), Options(QUIET))
    capsys.readouterr()
    request = SearchRequest(index, (tmp_path / "photos",), out=tmp_path / "out.csv", dry_run=True)
    assert answer_all(request, Console()) == []
    said = capsys.readouterr().out
    assert "search: 12 queries, 12 images of them embedded on cpu, " in said
    assert " of memory" in said
    assert not (tmp_path / "out.csv").exists()

"""`subspace search` from queries to answers.

Covers pipeline/searching/answers.py, pipeline/searching/write_answers.py,
pipeline/searching/answers_page.py, pipeline/searching/thumbnails.py, pipeline/searching/embedded_images.py,
too.
"""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from made_up_runs import finish
from PIL import Image

from subspace.mining import InputError, StaleArtifactError
from subspace.mining.embedding_files import embedding_writer
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.searching import answers_page
from subspace.pipeline.searching.answer_queries import SearchRequest, answer_all
from subspace.pipeline.searching.index_folder import open_folder
from subspace.pipeline.searching.index_request import IndexRequest, index_rows
from subspace.pipeline.searching.network_of_index import NetworkOptions, network_request
from subspace.pipeline.searching.thumbnails import thumbnail
from subspace.train import CheckpointMeta, build_backbone, save_checkpoint

QUIET = Console(quiet=True)
HOSTILE = '<script>alert("x")</script>\x1b[2K\u202e'


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Three identities, one of a hostile name with a picture."""
    Image.new("RGB", (40, 20), "red").save(tmp_path / "red.png")
    with embedding_writer(
        tmp_path / "rows.parquet", 4, columns=["identity"], network="net", normalized=True
    ) as writer:
        images = [str(tmp_path / "red.png"), '"><img src=x onerror=alert(1)>', "c.jpg"]
        writer.write(np.eye(4)[:3], {"image": images, "identity": [HOSTILE, "bob", "cid"]})
    index_rows(IndexRequest(tmp_path / "rows.parquet", tmp_path / "index"), Options(QUIET))
    return tmp_path / "index"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    np.save(tmp_path / "queries.npy", np.array([[0.9, 0.1, 0, 0.1], [0, 0.1, 0.2, 5]], np.float32))
    return tmp_path / "queries.npy"


def test_answers_and_unknown_ones(index: Path, queries: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = SearchRequest(index, (queries,), top=2, threshold=0.5)
    known, unknown = answer_all(request, Console(as_json=True))
    assert (known.known, known.matches[0].identity) == (True, HOSTILE)
    assert (unknown.known, [match.identity for match in unknown.matches]) == (False, ["cid"])
    output = capsys.readouterr()
    assert "unknown (nearest: cid)" in output.err
    assert "\x1b" not in output.err + output.out
    first, second = json.loads(output.out)["queries"]
    assert (first["identity"], second["identity"], second["known"]) == (HOSTILE, None, False)


def test_hostile_names_stay_text_in_the_page(index: Path, queries: Path, tmp_path: Path) -> None:
    answer_all(SearchRequest(index, (queries,), out=tmp_path / "page.html"), QUIET)
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    pictures = re.findall(r'<img src="data:image/webp;base64,[^"]+" alt="([^"]+)"', page)
    assert len(pictures) == 2  # the hostile one, under each query
    assert all("match" in alt for alt in pictures)


def test_pictures_that_a_page_has_no_room_for_are_said_to_be_left_out(
    index: Path,
    queries: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They looked like damaged files."""
    request = SearchRequest(index, (queries,), out=tmp_path / "page.html")
    answer_all(request, Console())
    assert "a page holds no more" not in capsys.readouterr().out + (tmp_path / "page.html").read_text()
    monkeypatch.setattr(answers_page, "MOST_PICTURES", 1)
    answer_all(request, Console())
    said = "pictures of the first 1 of 5 images: a page holds no more"
    assert said in capsys.readouterr().out
    assert f">{said}</li>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_answers_as_rows(index: Path, queries: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"answers.{suffix}"
    answer_all(SearchRequest(index, (queries,), top=2, out=out), QUIET)
    rows = (pq.read_table(out) if suffix == "parquet" else pyarrow.csv.read_csv(out)).to_pydict()
    assert rows["rank"] == [1, 2, 1, 2]
    assert rows["identity"][:2] == [HOSTILE, "bob"]


def test_queries_of_another_network_or_size_are_refused(index: Path, tmp_path: Path) -> None:
    with embedding_writer(tmp_path / "other.parquet", 4, network="other", normalized=True) as writer:
        writer.write(np.eye(4), {"image": list("abcd")})
    with pytest.raises(StaleArtifactError, match="embedded by network other"):
        answer_all(SearchRequest(index, (tmp_path / "other.parquet",)), QUIET)
    np.save(tmp_path / "wide.npy", np.eye(5, dtype=np.float32))
    with pytest.raises(StaleArtifactError, match="embeddings of 5 numbers"):
        answer_all(SearchRequest(index, (tmp_path / "wide.npy",)), QUIET)
    with pytest.raises(InputError, match="give --network CHECKPOINT"):
        answer_all(SearchRequest(index, (tmp_path / "red.png",)), QUIET)


def test_wrong_requests_are_refused(index: Path, queries: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave one of them out"):
        SearchRequest(index, (queries,), far=0.1, threshold=0.3)
    with pytest.raises(InputError, match="cosines lie between"):
        SearchRequest(index, (queries,), threshold=45)
    with pytest.raises(InputError, match="name a file that ends in"):
        SearchRequest(index, (queries,), out=tmp_path / "page.txt")
    with pytest.raises(InputError, match="needs an index of 1,000 images"):
        answer_all(SearchRequest(index, (queries,), far=1e-3), QUIET)
    with pytest.raises(InputError, match="does not exist"):
        answer_all(SearchRequest(index, (tmp_path / "nowhere.jpg",)), QUIET)
    for wrong in ({"top": 2, "T": 1}, {"stages": "means", "list_images": True}):  # before any query is read
        with pytest.raises(InputError, match=r"larger -T|--stages means looks at none"):
            answer_all(SearchRequest(index, (tmp_path / "nowhere.jpg",), **wrong), QUIET)


def test_images_are_embedded_by_the_network_of_the_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name in ("ann", "bob"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        for number in range(2):
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "bad.png").write_bytes(b"no image")
    from subspace.pipeline.sources.ingest import ingest_images
    from subspace.pipeline.sources.options import IngestOptions

    (tmp_path / "photos" / "bad.png").rename(tmp_path / "bad.png")
    ingest_images(tmp_path / "photos", tmp_path / "photos.parquet", IngestOptions())
    for seed in (0, 1):
        network = build_backbone("small", embedding_size=8, seed=seed)
        save_checkpoint(
            tmp_path / f"net{seed}", network, CheckpointMeta("small", 8, step=0, fingerprint=str(seed))
        )
    index, own = tmp_path / "index", str(tmp_path / "net0")
    with pytest.raises(InputError, match="--network CHECKPOINT"):
        index_rows(IndexRequest(tmp_path / "photos.parquet", index), Options(QUIET))
    index_rows(IndexRequest(tmp_path / "photos.parquet", index, network=own), Options(QUIET))
    (tmp_path / "photos" / "bad.png").write_bytes(b"no image")
    capsys.readouterr()
    answers = answer_all(
        SearchRequest(index, (tmp_path / "photos",)), Console(as_json=True)
    )  # the network is found by itself
    [left_out] = json.loads(capsys.readouterr().out)["left_out"]
    assert left_out["query"] == str(tmp_path / "photos" / "bad.png")
    assert "not an image" in left_out["reason"]
    assert [answer.matches[0].identity for answer in answers] == ["ann", "ann", "bob", "bob"]
    assert all(answer.matches[0].similarity > 0.999 for answer in answers)
    with pytest.raises(StaleArtifactError, match="was embedded by"):
        answer_all(
            SearchRequest(index, (tmp_path / "photos",), network=NetworkOptions(str(tmp_path / "net1"))),
            QUIET,
        )


def test_queries_are_embedded_as_the_file_of_the_index_was(tmp_path: Path) -> None:
    """By the network that `subspace embed` had, and with mirror images where it had them."""
    from subspace.pipeline.embedding.command import run_embedding
    from subspace.pipeline.embedding.request import EmbedRequest

    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    network = build_backbone("small", embedding_size=8, seed=0)
    save_checkpoint(tmp_path / "net", network, CheckpointMeta("small", 8, step=0, fingerprint="0"))
    for flip in (True, False):
        rows = tmp_path / f"{flip}.parquet"
        request = EmbedRequest(str(tmp_path / "net"), (tmp_path / "photos",), rows, flip=flip, num_workers=0)
        run_embedding(request, Options(QUIET, "cpu"))
        index_rows(IndexRequest(rows, tmp_path / f"index{flip}"), Options(QUIET))
        answers = answer_all(SearchRequest(tmp_path / f"index{flip}", (tmp_path / "photos",)), QUIET)
        assert all(answer.matches[0].similarity > 0.9999 for answer in answers)
    (tmp_path / "net").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="say with --network where it is now"):
        answer_all(SearchRequest(tmp_path / "indexTrue", (tmp_path / "photos",)), QUIET)


@pytest.mark.parametrize("by", ["spec", "run"])
def test_a_network_of_an_index_that_may_not_import_is_where_it_was(tmp_path: Path, by: str) -> None:
    """It was advised to say where it is now. What an index names allows no code, not even a run that says so."""
    run, start = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run").start
    network = build_backbone("small", embedding_size=8, seed=0)
    save_checkpoint(start.checkpoint, network, CheckpointMeta("python:mine:net", 8, step=0, fingerprint="0"))
    run.config.write_text("manifest: m.parquet\nallow_code: true\n")
    finish(start, "pretrain")
    opened = str(run.path) if by == "run" else f"checkpoint:{start.checkpoint}"
    with embedding_writer(
        tmp_path / "rows.parquet", 8, network="net", normalized=True, notes={"opened": opened}
    ) as writer:
        writer.write(np.eye(8), {"image": list("abcdefgh")})
    index_rows(IndexRequest(tmp_path / "rows.parquet", tmp_path / "index"), Options(QUIET))
    Image.new("RGB", (40, 20), "red").save(tmp_path / "red.png")
    with pytest.raises(InputError, match=r"was made by python:mine:net.* --allow-code") as refused:
        answer_all(SearchRequest(tmp_path / "index", (tmp_path / "red.png",)), QUIET)
    assert "--network" not in str(refused.value)
    assert network_request(NetworkOptions(str(run.path)), None).allow_code  # pyright: ignore[reportOptionalMemberAccess]


def test_embeddings_with_mirror_images_are_told_from_those_without(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with embedding_writer(
        tmp_path / "flip.parquet", 4, network="net", normalized=True, notes={"flip": "true"}
    ) as writer:
        writer.write(np.eye(4), {"image": list("abcd")})
    answer_all(SearchRequest(index, (tmp_path / "flip.parquet",)), Console())
    assert "flip.parquet: embedded with --flip, the index without" in capsys.readouterr().out
    with embedding_writer(
        tmp_path / "plain.parquet", 4, network="net", normalized=True, notes={"flip": "false"}
    ) as writer:
        writer.write(np.eye(4), {"image": list("efgh")})
    index_rows(IndexRequest(tmp_path / "flip.parquet", tmp_path / "flipped"), Options(QUIET))
    answer_all(SearchRequest(tmp_path / "flipped", (tmp_path / "plain.parquet",)), Console())
    assert "embedded without --flip, the index with" in capsys.readouterr().out


def shown(name: str) -> Image.Image:
    """The thumbnail of an image."""
    url = thumbnail(name)
    assert url is not None
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")


def test_a_picture_has_the_shape_of_what_it_shows_and_no_bars(tmp_path: Path) -> None:
    path = tmp_path / "on its side.jpg"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20), "white").save(path, exif=turned)
    assert shown(str(path)).size == (56, 112)
    assert shown(f"{path}#xyxy=0,0,20,10").size == (112, 56)
    assert min(low for low, _ in shown(str(path)).getextrema()) > 250  # pyright: ignore


def test_a_picture_shows_the_part_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "two halves.png"
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32, 0], pixels[:, 32:, 2] = 255, 255
    Image.fromarray(pixels).save(path)

    def middle(name: str) -> tuple[int, ...]:
        picture = shown(name)
        place = (picture.width // 2, picture.height // 2)
        return tuple(round(value / 255) for value in picture.getpixel(place))  # pyright: ignore

    assert middle(f"{path}#xyxy=0,0,32,64") == (1, 0, 0)
    assert middle(f"{path}#0+{path.stat().st_size}#xyxy=32,0,64,64") == (0, 0, 1)
    assert middle(f"{path.as_uri()}#xyxy=32,0,64,64") == (0, 0, 1)


def test_parts_of_one_image_have_names_of_their_own(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("path,identity,x_1,y_1,x_2,y_2\na.png,l,0,0,32,64\na.png,r,32,0,64,64\n")
    from subspace.pipeline.sources.ingest import ingest_images
    from subspace.pipeline.sources.options import IngestOptions

    ingest_images(tmp_path / "a.csv", tmp_path / "a.parquet", IngestOptions())
    network = build_backbone("small", embedding_size=8, seed=0)
    save_checkpoint(tmp_path / "net", network, CheckpointMeta("small", 8, step=0, fingerprint="0"))
    index_rows(
        IndexRequest(tmp_path / "a.parquet", tmp_path / "index", network=str(tmp_path / "net")),
        Options(QUIET),
    )
    names = open_folder(tmp_path / "index").image_names.at(np.arange(2))
    ends = ("a.png#xyxy=0,0,32,64", "a.png#xyxy=32,0,64,64")
    assert all(name.endswith(end) for name, end in zip(names, ends, strict=True))

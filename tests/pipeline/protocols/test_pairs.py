"""Pairs of a list: accuracy over folds beside scikit-learn's KFold and a slow loop over InsightFace's thresholds."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from made_up_embeddings import unit

from subspace.mining.embedding_files import embedding_writer
from subspace.mining.embedding_table import EmbeddingTable
from subspace.mining.errors import InputError
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.protocols.outcome import Outcome
from subspace.pipeline.protocols.pairs import compare_pairs
from subspace.pipeline.protocols.request import ProtocolRequest
from subspace.pipeline.protocols.table_images import TableImages


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """A file of embeddings, a list of 200 pairs of them, their similarities, and which are genuine."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("pairs")
    owner = np.repeat(np.arange(50), 4)
    rows = unit(rng.standard_normal((50, 8))[owner] + 0.6 * rng.standard_normal((200, 8)))
    first = rng.integers(200, size=200)
    same = rng.random(200) < 0.5
    second = np.where(same, first ^ 1, (first + 4 * rng.integers(1, 49, size=200)) % 200)
    assert ((owner[first] == owner[second]) == same).all()
    order = rng.permutation(200)
    with embedding_writer(folder / "e.parquet", 8, normalized=True) as writer:
        writer.write(rows[order], {"image": [f"{i}.jpg" for i in order]})
    lines = [f"{a}.jpg,{b}.jpg,{int(kind)}" for a, b, kind in zip(first, second, same, strict=True)]
    (folder / "pairs.csv").write_text("\n".join(["image_a,image_b,same", *lines]) + "\n")
    return folder / "e.parquet", folder / "pairs.csv", np.einsum("nd,nd->n", rows[first], rows[second]), same


def test_accuracy_and_rates_are_those_of_a_slow_loop(
    listed: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    from sklearn.metrics import roc_curve
    from sklearn.model_selection import KFold

    embeddings, pairs, similarity, same = listed
    words = ["--pairs", pairs, "--metrics", "Accuracy,TAR@FAR=1e-1", "--out", tmp_path / "out", "--json"]
    done = subspace("eval", embeddings, "--protocol", "pairs", *words, "eval.bootstrap=10")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["pairs"]["metrics"]
    distance, accuracies = 2 - 2 * similarity, []
    for train, test in KFold(10).split(distance):
        right = [((distance[train] < at) == same[train]).mean() for at in np.arange(0, 4, 0.01)]
        accuracies.append(((distance[test] < np.arange(0, 4, 0.01)[np.argmax(right)]) == same[test]).mean())
    assert found["Accuracy"]["value"] == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert found["Accuracy"]["std"] == pytest.approx(np.std(accuracies), abs=1e-12)
    far, tar, _ = roc_curve(same, similarity, drop_intermediate=False)
    assert found["TAR@FAR=1e-1"]["value"] == pytest.approx(tar[far <= 0.1].max(), abs=1e-12)
    table = pq.read_table(tmp_path / "out" / "pairs.parquet")
    np.testing.assert_allclose(table["similarity"].to_numpy(), similarity, atol=1e-6)
    assert table["same"].to_pylist() == same.tolist()


def test_a_listed_image_without_an_embedding_is_named(
    listed: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image_a,image_b,same\n" + 10 * "0.jpg,1.jpg,1\n" + "0.jpg,absent.jpg,0\n")
    done = subspace("eval", listed[0], "--protocol", "pairs", "--pairs", pairs)
    assert done.returncode == 2
    assert "has no embedding of 1 of 3 listed images, the first: absent.jpg" in done.stderr


def test_names_of_images_may_be_encoded(
    listed: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """As pandas writes a categorical column."""
    table = pq.read_table(listed[0])
    encoded = table.set_column(0, "image", table["image"].cast("string").dictionary_encode())
    pq.write_table(encoded, tmp_path / "e.parquet")
    found = [compare(path, listed[1]).metrics for path in (listed[0], tmp_path / "e.parquet")]
    assert found[0] == found[1]


def test_lfw_needs_no_images_beside_its_embeddings(
    listed: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """It refused a list whose pictures were not on disk, which nothing opens."""
    genuine = "".join(f"Ann\t{number}\t{number + 1}\n" for number in range(1, 6))
    impostor = "".join(f"Ann\t{number}\tBob\t{number}\n" for number in range(1, 6))
    (tmp_path / "pairs.txt").write_text(f"5\n{genuine}{impostor}")
    names = [f"{who}/{who}_{number:04d}.jpg" for who in ("Ann", "Bob") for number in range(1, 7)]
    rows = np.repeat(np.eye(2, 8, dtype=np.float32), 6, axis=0)
    with embedding_writer(tmp_path / "e.parquet", 8, normalized=True) as writer:
        writer.write(rows, {"image": names})
    assert compare(tmp_path / "e.parquet", tmp_path / "pairs.txt").metrics["Accuracy"]["value"] == 1


def test_images_may_be_called_by_their_paths_as_embed_does(
    listed: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """`--root` was taken and said nothing: no listed image was found."""
    table = pq.read_table(listed[0])
    (tmp_path / "faces").mkdir()
    (tmp_path / "link").symlink_to("faces")
    names = table["image"].cast("string").to_pylist()
    for name in ("faces", "link"):
        whole = table.set_column(0, "image", [[f"{tmp_path}/{name}/{image}" for image in names]])
        pq.write_table(whole, tmp_path / f"{name}.parquet")
    right = compare(listed[0], listed[1]).metrics
    for embeddings, root in (("faces", "faces"), ("faces", "link"), ("link", "link")):
        assert compare(tmp_path / f"{embeddings}.parquet", listed[1], tmp_path / root).metrics == right
    with pytest.raises(InputError, match=r"must call each as the list does, or by its path, which .* --root"):
        compare(tmp_path / "faces.parquet", listed[1])


def compare(embeddings: Path, pairs: Path, root: Path | None = None) -> Outcome:
    """What the protocol comes to, in this process."""
    config = RunConfig.model_validate({"manifest": str(embeddings), "eval": {"bootstrap": 10}})
    images = TableImages(EmbeddingTable.open(embeddings), config, Options(Console(quiet=True)))
    return compare_pairs(images, ProtocolRequest(pairs=pairs, root=root)).work()


def test_a_network_embeds_the_images_that_a_bin_holds(
    finished_run: Path, small_source: Path, tmp_path: Path
) -> None:
    """Images of one identity follow each other in the source: the first of each and one more, then two of different ones."""
    table = pq.read_table(small_source).slice(0, 120).to_pylist()
    images = [row["image"] for row in table[:40]] + [
        row["image"] for i in range(20) for row in (table[i], table[i + 60])
    ]
    names = [row["identity"] for row in table[:40]] + [
        row["identity"] for i in range(20) for row in (table[i], table[i + 60])
    ]
    same = [a == b for a, b in zip(names[::2], names[1::2], strict=True)]
    (tmp_path / "glyphs.bin").write_bytes(pickle.dumps((images, same)))
    words = ["--protocol", "pairs", "--pairs", tmp_path / "glyphs.bin", "--out", tmp_path / "out", "--flip"]
    done = subspace("eval", finished_run, *words, "eval.bootstrap=10", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "40 pairs" in done.stdout
    assert "VAL@FAR=1e-3: fold 5 has no genuine pairs" in done.stdout
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (found["genuine_pairs"], found["impostor_pairs"], found["flip"]) == (
        sum(same),
        40 - sum(same),
        True,
    )
    assert 0.3 <= found["metrics"]["Accuracy"]["value"] <= 1

"""Templates: figures beside a slow loop over media, and lists that do not fit. Covers
pipeline/protocols/template_curves.py, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from made_up_embeddings import unit

from subspace.mining import InputError
from subspace.mining.embedding_files import embedding_writer
from subspace.mining.embedding_table import EmbeddingTable
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.protocols.request import ProtocolRequest
from subspace.pipeline.protocols.table_images import TableImages
from subspace.pipeline.protocols.templates import TemplateLists, compare_templates


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """24 people with two templates each, of a still image and a video of two frames; all pairs; galleries and probes."""
    rng, folder = np.random.default_rng(8), tmp_path_factory.mktemp("ijb")
    owner = np.repeat(np.arange(24), 6)
    rows = unit(rng.standard_normal((24, 12))[owner] + 0.9 * rng.standard_normal((144, 12)))
    with embedding_writer(folder / "e.parquet", 12, normalized=True) as writer:
        writer.write(rows, {"image": [f"{i}.jpg" for i in range(144)]})
    face = [(i, i // 3, 2 * (i // 3) + (i % 3 > 0)) for i in range(144)]
    (folder / "faces.txt").write_text(
        "".join(f"{i}.jpg {template} {medium}\n" for i, template, medium in face)
    )
    pairs = [(a, b, int(a // 2 == b // 2)) for a in range(48) for b in range(a + 1, 48)]
    (folder / "pairs.txt").write_text("".join(f"{a} {b} {same}\n" for a, b, same in pairs))
    head = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n"
    sides = {
        "gallery_G1": lambda t: t % 4 == 0,
        "gallery_G2": lambda t: t % 4 == 2,
        "probe_mixed": lambda t: t % 2 == 1,
    }
    for name, belongs in sides.items():
        lines = [f"{t},{t // 2},{i}.jpg,{medium}\n" for i, t, medium in face if belongs(t)]
        (folder / f"{name}.csv").write_text(head + "".join(lines))
    means = (rows.reshape(48, 3, 12)[:, 0] + rows.reshape(48, 3, 12)[:, 1:].mean(axis=1)).astype(np.float64)
    return folder, means / np.linalg.norm(means, axis=1, keepdims=True)


def test_one_to_one_is_that_of_a_slow_loop(lists: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    from sklearn.metrics import roc_curve

    folder, templates = lists
    words = [
        "--templates",
        folder / "faces.txt",
        "--templates",
        folder / "pairs.txt",
        "--out",
        tmp_path / "out",
    ]
    done = subspace("eval", folder / "e.parquet", "--protocol", "templates", *words, "eval.bootstrap=10")
    assert done.returncode == 0, done.stderr
    a, b = np.triu_indices(48, 1)
    far, tar, _ = roc_curve(a // 2 == b // 2, (templates @ templates.T)[a, b], drop_intermediate=False)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for name, rate in (("TAR@FAR=1e-1", 0.1), ("TAR@FAR=1e-2", 0.01)):
        assert found["metrics"][name]["value"] == pytest.approx(tar[far <= rate].max(), abs=1e-12)
    assert (found["templates"], found["genuine_pairs"], found["impostor_pairs"]) == (48, 24, 1104)
    assert "Rank-1" not in found["metrics"]


def test_one_to_many_reports_each_gallery_and_their_mean(
    lists: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    folder, templates = lists
    words = [
        word
        for name in ("gallery_G1", "gallery_G2", "probe_mixed")
        for word in ("--templates", folder / f"{name}.csv")
    ]
    done = subspace(
        "eval",
        folder / "e.parquet",
        "--protocol",
        "templates",
        *words,
        "--out",
        tmp_path / "out",
        "--json",
        "eval.bootstrap=10",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["templates"]["metrics"]
    ranks = []
    points = pq.read_table(tmp_path / "out" / "identification.parquet").to_pylist()
    for gallery in ("gallery_G1", "gallery_G2", "joined", "mean"):
        [first] = [
            point
            for point in points
            if (point["gallery"], point["curve"], point["x"]) == (gallery, "Rank", 1)
        ]
        assert first["value"] == found[f"Rank-1 {gallery}"]["value"]
    assert {point["gallery"] for point in points if point["curve"] == "DIR@FAR"} == {
        "gallery_G1",
        "gallery_G2",
        "mean",
    }  # nobody is a stranger in the joined one
    for name in ("cmc.png", "dir.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    for name, place in (("gallery_G1", np.arange(0, 48, 4)), ("gallery_G2", np.arange(2, 48, 4))):
        best = (templates[place + 1] @ templates[place].T).argmax(axis=1)
        ranks.append((best == np.arange(12)).mean())
        assert found[f"Rank-1 {name}"]["value"] == pytest.approx(ranks[-1], abs=1e-12)
    assert found["Rank-1 mean"]["value"] == pytest.approx(np.mean(ranks), abs=1e-12)


def test_galleries_of_one_file_name_are_both_measured(lists: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, _ = lists
    other = tmp_path / "gallery_G1.csv"
    other.write_bytes((folder / "gallery_G2.csv").read_bytes())
    given = (folder / "gallery_G1.csv", other, folder / "probe_mixed.csv")
    words = [word for path in given for word in ("--templates", path)]
    words += ["--root", folder, "--metrics", "Rank-1,DIR@FAR=1e-2", "--out", tmp_path / "out"]
    done = subspace("eval", folder / "e.parquet", "--protocol", "templates", *words, "eval.bootstrap=10")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    galleries = [str(path) for path in given[:2]]
    names = [
        f"{metric} {name}" for name in (*galleries, "joined", "mean") for metric in ("Rank-1", "DIR@FAR=1e-2")
    ]
    assert list(found) == [
        name for name in names if name != "DIR@FAR=1e-2 joined"
    ]  # nobody is a stranger there
    why = "FAR=0.01 needs 100 probes without a mate or more; there are 12"
    assert found[f"DIR@FAR=1e-2 {other}"]["reason"] == why
    assert f"DIR@FAR=1e-2 {other}: {why}" in done.stdout


def test_no_rate_without_strangers_and_it_says_why(lists: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, _ = lists
    head, *rows = (folder / "probe_mixed.csv").read_text().splitlines()
    known = [row for row in rows if int(row.split(",")[0]) % 4 == 1]  # of the subjects of G1
    (tmp_path / "probe_known.csv").write_text("\n".join([head, *known]))
    config = RunConfig.model_validate({"manifest": str(folder / "e.parquet"), "eval": {"bootstrap": 10}})
    images = TableImages(EmbeddingTable.open(folder / "e.parquet"), config, Options(Console(quiet=True)))
    given = (folder / "gallery_G1.csv", tmp_path / "probe_known.csv")
    for asked in ((), ("DIR@FAR=0.01",)):
        request = ProtocolRequest(templates=given, root=folder, metrics=asked)
        found = compare_templates(images, request).work()
        why = "every probe is of a subject in the gallery, so there are no strangers"
        assert found.metrics["DIR@FAR=1e-2"]["value"] is None
        assert f"DIR@FAR=1e-2: {why}" in found.notes
        assert ("Rank-1" in found.metrics) == (not asked)
        json.dumps(found.to_json())
        assert "DIR@FAR=1e-2" in found.in_words()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["pairs.txt"], "no list says which images make a template"),
        (["faces.txt"], "1:1 needs a list of pairs"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    lists: tuple[Path, np.ndarray], given: list[str], message: str
) -> None:
    folder, _ = lists
    words = [word for name in given for word in ("--templates", folder / name)]
    done = subspace("eval", folder / "e.parquet", "--protocol", "templates", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_template_of_two_people_is_refused(lists: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, _ = lists
    other = tmp_path / "gallery_other.csv"
    other.write_text((folder / "gallery_G1.csv").read_text().replace("\n0,0,", "\n0,77,"))
    read = TemplateLists.read((folder / "gallery_G1.csv", other), folder)
    with pytest.raises(InputError, match=r"gallery_other.csv: template 0 is of 77, in another list of 0"):
        read.subjects([0, 1])
    assert len(read.subjects([0]) or {}) == 12

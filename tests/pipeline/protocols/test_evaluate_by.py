"""Protocols from the command line to the files, their figures beside those of other packages. Covers
pipeline/commands/evaluation.py, pipeline/protocols/table_images.py, pipeline/protocols/evaluated_images.py,
pipeline/protocols/planned.py, pipeline/protocols/sides.py, pipeline/protocols/identification.py,
pipeline/protocols/verification.py, pipeline/protocols/retrieval.py, pipeline/protocols/opening.py and
pipeline/protocols/network_images.py, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from made_up_embeddings import tied_rows, unit
from omegaconf import OmegaConf

from subspace.mining import InputError
from subspace.mining.embedding_files import embedding_writer
from subspace.mining.embedding_table import EmbeddingTable
from subspace.mining.evaluation.mated_probes import TIE
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.protocols.evaluate_by import evaluate_by_protocols
from subspace.pipeline.protocols.identification import identify
from subspace.pipeline.protocols.opening import open_images
from subspace.pipeline.protocols.outcome import Outcome
from subspace.pipeline.protocols.request import ProtocolRequest
from subspace.pipeline.protocols.retrieval import retrieve_images
from subspace.pipeline.protocols.sides import held_out_by
from subspace.pipeline.protocols.table_images import TableImages
from subspace.pipeline.protocols.verification import verify_images


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 identities with 4 images each, two cameras, in any order; half of them query, half gallery; ten strangers."""
    rng = np.random.default_rng(5)
    identity = np.concatenate((np.repeat(np.arange(60), 4), np.arange(60, 70)))
    group = np.concatenate((np.tile([0, 0, 1, 1], 60), np.zeros(10, int)))
    query = np.concatenate((np.tile([True, False, True, False], 60), np.zeros(10, bool)))
    rows = unit(rng.standard_normal((70, 16))[identity] + 0.7 * rng.standard_normal((250, 16)))
    order = rng.permutation(250)
    path = tmp_path_factory.mktemp("faces") / "faces.parquet"
    columns = ["identity", "group", "is_query", "is_gallery", "split"]
    with embedding_writer(path, 16, columns=columns, normalized=True) as writer:
        writer.write(
            rows[order],
            {
                "image": [f"{i:03}.jpg" for i in order],
                "identity": [f"person {identity[i]:02}" for i in order],
                "group": [f"camera {group[i]}" for i in order],
                "is_query": query[order],
                "is_gallery": ~query[order],
                "split": ["test"] * 250,
            },
        )
    return path


def evaluated(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def columns_of(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    table = pq.read_table(path)
    rows = np.array(table["embedding"].to_pylist())
    names = (np.array(table[name].to_pylist()) for name in ("identity", "group", "is_query"))
    return (rows, *names)  # pyright: ignore[reportReturnType]


def test_verification_is_that_of_scikit_learn(faces: Path, tmp_path: Path) -> None:
    from sklearn.metrics import roc_curve

    out = tmp_path / "out"
    words = ["--protocol", "verification", "--threshold", "0.5", "--metrics", "TAR@FAR=1e-2,TAR@FAR=1e-1,EER"]
    done = subspace("eval", faces, *words, "--out", out, "eval.bootstrap=20")
    assert done.returncode == 0, done.stderr
    assert "columns used: identity, group, is_query, is_gallery, split" in done.stdout
    assert "images of one identity and one group are not compared" in done.stdout
    found, curve = evaluated(out), pq.read_table(out / "curve.parquet")
    assert (found["identities"], found["probes"], found["gallery"]) == (60, 60, 60)

    genuine, impostor = pairs_of_one_gallery_image(faces)
    far, tar, _ = roc_curve(
        np.repeat([1, 0], (len(genuine), len(impostor))),
        np.concatenate((genuine, impostor)),
        drop_intermediate=False,
    )
    for rate in (1e-2, 1e-1):
        best = tar[far <= rate].max()
        assert found["metrics"][f"TAR@FAR={rate:.0e}".replace("e-0", "e-")]["value"] == pytest.approx(
            best, abs=1e-12
        )
    at = found["at_threshold"]
    assert at["far"] == pytest.approx((impostor > 0.5).mean(), abs=1e-12)
    assert at["tar"] == pytest.approx((genuine > 0.5).mean(), abs=1e-12)
    assert f"at similarity > 0.5: FAR {at['far']:.3g}, TAR {at['tar']:.4f}" in done.stdout
    assert curve["tar"][-1].as_py() == 1
    assert (out / "roc.png").read_bytes().startswith(b"\x89PNG")


def pairs_of_one_gallery_image(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of genuine and of impostor pairs, by the pairs that HeldOut chooses, in slow loops."""
    genuine, rivals, _ = sides_slowly(path)
    return genuine, np.array([score for _, others, _ in rivals for score in others])


def images_of(path: Path) -> TableImages:
    config = RunConfig.model_validate({"manifest": str(path), "eval": {"bootstrap": 10}})
    return TableImages(EmbeddingTable.open(path), config, Options(Console(quiet=True)))


def sides_slowly(
    path: Path,
) -> tuple[np.ndarray, list[tuple[float, list[float], list[float]]], list[float]]:
    """By the images that HeldOut chooses, in float64: each probe's similarity to its mate; the same, those to the rest of
    the gallery and to the distractors; and each distractor's highest to the gallery."""
    images = images_of(path)
    gallery, probe, distractor = held_out_by(images).choose_images(images.manifest)
    name = images.manifest.table["uri"].to_pylist()
    table = pq.read_table(path)
    row = dict(zip(table["image"].to_pylist(), np.array(table["embedding"].to_pylist()), strict=True))
    who = dict(zip(table["image"].to_pylist(), table["identity"].to_pylist(), strict=True))
    rivals = []
    for p in (name[i] for i in probe):
        [mate] = [float(row[p] @ row[name[g]]) for g in gallery if who[name[g]] == who[p]]
        others = [float(row[p] @ row[name[g]]) for g in gallery if who[name[g]] != who[p]]
        rivals.append((mate, others, [float(row[p] @ row[name[d]]) for d in distractor]))
    top = [max(float(row[name[d]] @ row[name[g]]) for g in gallery) for d in distractor]
    return np.array([mate for mate, _, _ in rivals]), rivals, top


def test_retrieval_takes_query_and_gallery_from_the_file_and_obeys_groups(
    faces: Path, tmp_path: Path
) -> None:
    from sklearn.metrics import average_precision_score

    out = tmp_path / "out"
    done = subspace("eval", faces, "--protocol", "retrieval", "--out", out, "eval.bootstrap=20", "--json")
    assert done.returncode == 0, done.stderr
    rows, identity, group, query = columns_of(faces)
    precisions, firsts = [], []
    for i in np.flatnonzero(query):
        others = ~query & ~((identity == identity[i]) & (group == group[i]))
        right = identity[others] == identity[i]
        similarity = rows[others] @ rows[i]
        precisions.append(average_precision_score(right, similarity))
        firsts.append(right[np.argsort(-similarity)][0])
    found = json.loads(done.stdout)["retrieval"]["metrics"]
    assert found["mAP"]["value"] == pytest.approx(np.mean(precisions), abs=1e-6)
    assert found["recall@1"]["value"] == pytest.approx(np.mean(firsts), abs=1e-12)
    assert len(pq.read_table(out / "queries.parquet")) == 120


def written(path: Path, rows: np.ndarray, identity: list[str], split: list[str]) -> Path:
    with embedding_writer(path, rows.shape[1], columns=["identity", "split"], normalized=True) as writer:
        names = {"image": [f"{i:04}.jpg" for i in range(len(rows))], "identity": identity, "split": split}
        writer.write(rows, names)
    return path


def table_of_12(path: Path, **columns: list[object]) -> Path:
    """4 identities with 3 images each, as other programs write them; columns over their own."""
    rng = np.random.default_rng(7)
    rows = unit(rng.standard_normal((4, 8))[np.arange(12) // 3] + 0.9 * rng.standard_normal((12, 8)))
    own = {"image": [f"{i}.jpg" for i in range(12)], "identity": [f"p{i // 3}" for i in range(12)]}
    pq.write_table(pa.table({**own, "embedding": rows.tolist(), **columns}), path)
    return path


def retrieved(path: Path, **request: tuple[str, ...]) -> Outcome:
    return retrieve_images(images_of(path), ProtocolRequest(**request)).work()  # pyright: ignore[reportArgumentType]


def test_a_picture_in_two_rows_never_finds_itself(tmp_path: Path) -> None:
    """A file that lists its images twice, and one that has each as query and as gallery, as UNION ALL makes it."""
    table = pq.read_table(table_of_12(tmp_path / "once.parquet"))
    once = retrieved(tmp_path / "once.parquet")
    assert 0 < once.metrics["recall@1"]["value"] < 1
    split = pa.array(["query"] * 12 + ["gallery"] * 24)
    pq.write_table(pa.concat_tables([table, table]), tmp_path / "twice.parquet")
    pq.write_table(pa.concat_tables([table] * 3).append_column("split", split), tmp_path / "sides.parquet")
    sides = retrieved(tmp_path / "sides.parquet", query=("query",), gallery=("gallery",))
    for found in (retrieved(tmp_path / "twice.parquet"), sides):
        assert found.metrics == once.metrics
        assert (found.counts["queries"], found.counts["gallery"]) == (12, 12)


def test_an_empty_name_is_nobodys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for place, nobody in enumerate((None, "")):
        path = table_of_12(
            tmp_path / f"{place}.parquet", identity=["b"] * 3 + ["a"] * 3 + ["c"] * 3 + [nobody] * 3
        )
        config = RunConfig.model_validate({"manifest": str(path), "eval": {"bootstrap": 10}})
        images = TableImages(EmbeddingTable.open(path), config, Options(Console()))
        assert images.manifest.table["identity"].to_pylist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
        assert images.manifest.identity_id.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert images.manifest.identity_id.dtype == np.int32
        assert "3 rows without an identity left out" in capsys.readouterr().out
        found.append(retrieve_images(images, ProtocolRequest()).work().metrics)
    assert found[0] == found[1]


@pytest.mark.parametrize("encoded", [False, True])
def test_an_empty_value_says_nothing(tmp_path: Path, encoded: bool) -> None:
    """A group that is empty is unlike any other, an image without a name is another image, and so is no split."""
    blanks = {
        "group": ["one", "", ""] * 4, "split": [""] * 12, "image": ["0.jpg", "", *(f"{i}.jpg" for i in range(2, 11)), ""],
    }  # fmt: skip
    texts = {name: pa.array(column) for name, column in blanks.items()}
    nulls = {
        name: pa.array([text or None for text in column], pa.string())
        for name, column in blanks.items()
        if name != "image"
    }
    nulls["image"] = pa.array([f"{i}.jpg" for i in range(12)])
    if encoded:
        texts = {name: column.dictionary_encode() for name, column in texts.items()}
    paths = [
        table_of_12(tmp_path / f"{place}.parquet", **columns)  # pyright: ignore[reportArgumentType]
        for place, columns in enumerate((nulls, texts))
    ]
    for protocol in (retrieve_images, verify_images):
        ours, theirs = (protocol(images_of(path), ProtocolRequest()).work() for path in paths)
        assert (ours.metrics, ours.counts) == (theirs.metrics, theirs.counts)


def identified(path: Path) -> Outcome:
    """What the protocol comes to, in this process."""
    return identify(images_of(path), ProtocolRequest()).work()


@pytest.mark.parametrize("ties", [False, True])
def test_identification_is_that_of_a_slow_loop(tmp_path: Path, ties: bool) -> None:
    """Rank-k, DIR@FAR and coverage, by their definitions; where similarities are multiples of 1/4, most are ties."""
    rng = np.random.default_rng(3)
    owner = np.concatenate((np.repeat(np.arange(30), 3), np.arange(30, 140)))
    if ties:
        rows = tied_rows(rng, 200)
    else:
        rows = unit(rng.standard_normal((140, 12))[owner] + 0.4 * rng.standard_normal((200, 12)))
    names = [f"{i:03}" for i in owner]
    path = written(tmp_path / "e.parquet", rows, names, ["test"] * 200)
    genuine, rivals, strangers = sides_slowly(path)
    assert len(strangers) == 110
    found = identified(path)
    for k in (1, 5, 10):
        rank = np.array([1 + sum(s >= mate for s in (*gallery, *others)) for mate, gallery, others in rivals])
        assert found.metrics[f"Rank-{k}"]["value"] == pytest.approx((rank <= k).mean(), abs=1e-12)
    # at most one in a hundred strangers is let in: of 110 one, so the threshold is the second highest
    threshold = sorted(strangers)[-1 - int(0.01 * 110)] + TIE
    first = np.array([all(s < mate for s in gallery) for mate, gallery, _ in rivals])
    assert found.metrics["DIR@FAR=1e-2"]["value"] == pytest.approx(
        (first & (genuine > threshold)).mean(), abs=1e-12
    )
    best = np.array([max(mate, *gallery) for mate, gallery, _ in rivals])
    right = [
        [(first & (best >= t)).sum() / max(1, (best >= t).sum()), (best >= t).mean()] for t in np.unique(best)
    ]
    covered = max((share for precision, share in right if precision >= 0.95), default=0)
    assert found.metrics["coverage@P=0.95"]["value"] == pytest.approx(covered, abs=1e-12)


def test_one_identity_alone_is_always_found(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(0).standard_normal((3, 4)))
    found = identified(written(tmp_path / "e.parquet", rows, ["ann"] * 3, ["test"] * 3))
    assert [found.metrics[f"Rank-{k}"]["value"] for k in (1, 5, 10)] == [1, 1, 1]
    assert found.metrics["DIR@FAR=1e-2"]["value"] is None
    assert any("DIR@FAR=1e-2: FAR=0.01 needs 100" in note for note in found.notes)


def test_flags_of_one_side_are_refused_by_all(tmp_path: Path, faces: Path) -> None:
    table = pq.read_table(faces)
    place = table.schema.get_field_index("is_gallery")
    for name, other in (
        ("gone", table.drop_columns(["is_gallery"])),
        ("none", table.set_column(place, "is_gallery", pa.array([False] * len(table)))),
    ):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(other.replace_schema_metadata(table.schema.metadata), path)
        for protocol in (identify, verify_images, retrieve_images):
            with pytest.raises(InputError, match="column is_query marks images, is_gallery none; mark both"):
                protocol(images_of(path), ProtocolRequest())
    split = ProtocolRequest(query=("test",), gallery=("test",))
    assert retrieve_images(images_of(path), split).work().counts["queries"] == 240


def test_several_protocols_are_written_side_by_side_and_not_twice(faces: Path, tmp_path: Path) -> None:
    words = [
        "eval",
        faces,
        "--protocol",
        "verification",
        "--protocol",
        "retrieval",
        "--out",
        tmp_path / "out",
    ]
    dry = subspace(*words, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "dry run: nothing was done" in dry.stdout
    assert not (tmp_path / "out").exists()
    assert subspace(*words, "eval.bootstrap=10", "--quiet").stdout == ""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["retrieval", "verification"]
    again = subspace(*words)
    assert again.returncode == 2
    assert again.stderr.endswith("is there already; write it anew with --force, or give another --out\n")


def test_a_wrong_list_of_the_last_protocol_stops_all_before_any_work(faces: Path, tmp_path: Path) -> None:
    request = ProtocolRequest(pairs=tmp_path / "missing.csv")
    options = Options(Console(quiet=True), device="cpu")
    with pytest.raises(InputError, match=r"missing\.csv does not exist"):
        evaluate_by_protocols(faces, ["verification", "pairs"], request, options, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--manifest", "m.parquet"], "--manifest goes with a RUN or a CHECKPOINT"),
        (["--flip"], "--flip goes with a RUN or a CHECKPOINT"),
        (["--query", "train", "--gallery", "test"], "--query train: .* has the splits test"),
    ],
)
def test_options_that_do_not_fit_the_file_are_refused(faces: Path, words: list[str], message: str) -> None:
    import re

    done = subspace("eval", faces, "--protocol", "retrieval", *words)
    assert done.returncode == 2
    assert re.search(message, done.stderr), done.stderr
    assert not (faces.parent / "evaluation-retrieval").exists()


def test_a_file_without_names_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "nameless.parquet"
    with embedding_writer(path, 2, normalized=True) as writer:
        writer.write(np.eye(2), {"image": ["a.jpg", "b.jpg"]})
    done = subspace("eval", path, "--protocol", "verification")
    assert done.returncode == 2
    assert "says of no row whom it shows (column identity, string)" in done.stderr


def test_without_a_protocol_a_file_is_refused_and_options_of_protocols_are(
    faces: Path, finished_run: Path
) -> None:
    done = subspace("eval", faces)
    assert (done.returncode, "say by which protocol" in done.stderr) == (2, True)
    done = subspace("eval", finished_run, "--metrics", "Rank-1")
    assert done.stderr == "subspace: --metrics goes with --protocol NAME, or set eval.metrics=[...]\n"


def test_a_network_gives_the_figures_of_the_plain_command(finished_run: Path, tmp_path: Path) -> None:
    """On the same pairs: a protocol chooses gallery, probes and distractors as the command without one does."""
    checkpoint, out = finished_run / "round-000" / "checkpoint", tmp_path / "out"
    done = subspace("eval", checkpoint, "--json")
    assert "images of test and distractors, less than a second, " in done.stderr  # said before it begins
    plain = json.loads(done.stdout)[str(checkpoint)]["metrics"]
    done = subspace(
        "eval", checkpoint, "--protocol", "identification", "--protocol", "verification",
        "--out", out, "--json", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["identification"]["metrics"]["Rank-1"] == plain["Rank-1"]
    assert found["verification"]["metrics"]["TAR@FAR=1e-2"]["value"] == plain["TAR@FAR=1e-2"]["value"]
    assert found["identification"]["checkpoint"] == str(checkpoint.resolve())


def test_a_run_is_examined_by_its_settings_as_they_are_and_a_checkpoint_by_its_own(
    finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    settings = OmegaConf.load(run / "subspace.yaml")
    OmegaConf.update(settings, "eval.flip", True, force_add=True)
    OmegaConf.save(settings, run / "subspace.yaml")
    options = Options(Console(quiet=True))
    given = {"manifest": None, "flip": False, "allow_code": False}
    assert open_images(run, [], options, **given).config.eval.flip
    assert not open_images(run, ["eval.flip=false"], options, **given).config.eval.flip
    assert not open_images(run / "round-001" / "checkpoint", [], options, **given).config.eval.flip

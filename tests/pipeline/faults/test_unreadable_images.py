"""A disk that is lost stops every stage that reads images, saved, and its return gives what an undisturbed run gives.

Covers pipeline/faults/missing_in_training.py, too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace

from subspace.mining import InputError, Manifest, StoppedEarly
from subspace.pipeline.configuration.config import DataConfig
from subspace.pipeline.faults.missing_in_training import RECENT, MissingInTraining
from subspace.pipeline.faults.unreadable_images import HANDFUL, UnreadableImages, tolerated
from subspace.train.data.images import BadImage, ImageStore
from subspace.train.step_record import StepImages

GONE = "cannot be read"


@pytest.fixture(scope="module")
def store(small_manifest: Path) -> ImageStore:
    return ImageStore(Manifest.open(small_manifest))


def bad(count: int) -> list[BadImage]:
    return [BadImage(number, "gone") for number in range(count)]


@pytest.mark.parametrize(
    ("batches", "fraction", "goes_on"),
    [
        ([(20, 1)], 0.01, True),
        ([(20, 1)], 0, False),
        ([(HANDFUL, HANDFUL), (100, 0)], 0.01, True),
        ([(HANDFUL + 1, HANDFUL + 1)], 1, False),
        ([(1_000, 0), (100, 50)], 0.01, False),
        ([(100_000, 0), (100, 100)], 0.01, False),
        ([(256, 2)] * 400, 0.01, True),
        ([(256, 5)] * 400, 0.01, False),
        ([(600, 9)], 0.01, False),
        ([(3, 3)], 1, False),
    ],
)
def test_a_handful_and_the_fraction_are_tolerated_a_whole_batch_never(
    store: ImageStore, batches: list[tuple[int, int]], fraction: float, goes_on: bool
) -> None:
    read = UnreadableImages(DataConfig(max_bad_fraction=fraction), store)

    def all_of_it() -> None:
        for planned, unreadable in batches:
            read.add(planned, bad(unreadable))
        read.end()

    if goes_on:
        all_of_it()
    else:
        with pytest.raises(StoppedEarly, match=rf"image 0 {GONE}: gone.*max_bad_fraction={fraction:g}$"):
            all_of_it()


def watch(store: ImageStore, steps: list[tuple[int, int]]) -> tuple[MissingInTraining, int]:
    """Steps of (planned, unreadable), until one is refused; and its number."""
    missing = MissingInTraining(DataConfig(), store)
    for step, (planned, unreadable) in enumerate(steps):
        try:
            missing.look(StepImages(step, planned, planned - unreadable, bad(unreadable)))
        except StoppedEarly:
            return missing, step
    return missing, len(steps)


def test_a_training_stops_before_a_step_without_images_and_knows_what_is_sound(store: ImageStore) -> None:
    missing, step = watch(store, [(64, 0)] * 300 + [(64, 3), (64, 0), (64, 64)])
    assert (step, missing.sound_step(step)) == (302, 300)
    missing, step = watch(store, [(64, 1)] + [(64, 0)] * (RECENT + 5) + [(64, 64)])
    assert missing.sound_step(step) == step


def test_half_of_a_disk_shows_soon_however_long_all_was_well(store: ImageStore) -> None:
    _, step = watch(store, [(64, 0)] * 20_000 + [(64, 32)] * 50)
    assert 20_000 <= step < 20_006
    assert watch(store, [(64, int(step % 2 == 0)) for step in range(2_000)])[1] == 2_000  # 0.8 %


def test_a_training_that_learned_nothing_is_not_done(store: ImageStore) -> None:
    missing, step = watch(store, [(2, 1)] * HANDFUL)
    with pytest.raises(StoppedEarly, match="nothing was learned"):
        missing.refuse_nothing_learned(step, str)
    missing, step = watch(store, [(1, 0)] * 3)
    with pytest.raises(InputError, match="set a larger P or K"):
        missing.refuse_nothing_learned(step, str)
    again = MissingInTraining(DataConfig(), store)
    again.load(missing.state())
    assert again.state() == missing.state() == {"read": 3, "unreadable": 0, "learned": 0}
    again.load({})
    again.refuse_nothing_learned(step, str)


def test_a_resumed_training_still_knows_which_states_are_sound(store: ImageStore) -> None:
    missing = MissingInTraining(DataConfig(), store)
    for step in range(20):
        missing.look(StepImages(step, 64, 63 if step == 7 else 64, bad(int(step == 7))))
    again = MissingInTraining(DataConfig(), store)
    again.load(json.loads(json.dumps(missing.state())))
    assert again.sound_step(20) == missing.sound_step(20) == 7


def test_identities_that_are_missing_whole_are_no_lost_disk() -> None:
    """0.5 % of the identities, all K images of each: under the 1 %, whatever falls together."""
    random, stopped = np.random.default_rng(0), 0
    for _ in range(200):
        bad = np.cumsum(8 * random.binomial(32, 0.005, size=1000))
        limits = [tolerated(256 * (step + 1), 0.01, together=8) for step in range(1000)]
        stopped += bool((bad > limits).any())
    assert stopped == 0


@contextmanager
def gone(*paths: Path) -> Iterator[None]:
    """The files or folders lie elsewhere meanwhile."""
    for path in paths:
        path.rename(path.with_name(f"{path.name}.away"))
    yield
    for path in paths:
        path.with_name(f"{path.name}.away").rename(path)


@pytest.fixture(scope="module")
def images(small_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small source with a file for each image, in a folder for each identity."""
    folder = tmp_path_factory.mktemp("images")
    table = pq.read_table(small_source)
    lines = ["identity,path,split"]
    columns = (table[name].to_pylist() for name in ("identity", "image", "split"))
    for number, (identity, image, split) in enumerate(zip(*columns, strict=True)):
        path = folder / "disk" / identity.replace("+", "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
        lines.append(f"{path.parent.name},{path.relative_to(folder)},{split}")
    (folder / "list.csv").write_text("\n".join(lines))
    done = subspace("ingest", folder / "list.csv", "--out", folder / "m.parquet")
    assert done.returncode == 0, done.stderr
    return folder


def run(command: str, folder: Path, code: int = 0) -> str:
    done = subspace(command, folder)
    assert done.returncode == code, done.stderr
    return done.stderr


def same(a: Path, b: Path, name: str) -> bool:
    return (a / name).read_bytes() == (b / name).read_bytes()


@pytest.mark.slow
def test_every_stage_stops_and_goes_on_as_if_nothing_had_been(images: Path, tmp_path: Path) -> None:
    whole, torn, disk = tmp_path / "whole", tmp_path / "torn", images / "disk"
    settings = (*QUICK, "rounds=1", "validation.metrics=[Rank-1]", "train.collapse.action=off")
    for folder in (whole, torn):
        assert subspace("init", folder, "--manifest", images / "m.parquet", *settings).returncode == 0
    run("run", whole)
    model = "checkpoint/model.safetensors"

    with gone(disk):
        said = run("pretrain", torn, 4)
    assert said.count("\n") == 1
    assert f"of its folders only {images} is there" in said
    assert not (torn / "start" / model).exists()
    run("pretrain", torn)
    assert same(whole / "start", torn / "start", model)

    manifest = pq.read_table(images / "m.parquet", columns=["identity", "uri", "split"]).to_pylist()
    mined = [images / row["uri"] for row in manifest if row["split"] in ("train", "pretrain")]
    with gone(*mined[:3], *mined[-100:]):  # of the first part a handful, which is tolerated for itself
        assert GONE in run("extract", torn, 4)
    assert len(list((torn / "round-000" / "identities.parts").glob("means-*"))) >= 1
    run("extract", torn)
    assert same(whole / "round-000", torn / "round-000", "identities.parquet")

    run("cluster", torn)
    run("plan", torn)
    plan = np.stack(pq.read_table(torn / "round-000" / "plan")["image_ids"].to_numpy())
    late = [images / manifest[image]["uri"] for image in np.unique(plan[6])]
    with gone(*late):
        said = run("train", torn, 4)
    assert "is saved" in said or "begin again" in said
    assert not (torn / "round-000" / model).exists()
    run("train", torn)
    assert same(whole / "round-000", torn / "round-000", model)

    held = sorted({(images / row["uri"]).parent for row in manifest if row["split"] == "test"})
    with gone(*held[:8]):
        assert GONE in run("eval", torn, 4)
    assert not (torn / "start" / "evaluation.json").exists()
    lost = next(iter(held[0].iterdir()))
    with gone(lost):
        done = subspace("eval", torn)
    assert done.returncode == 0, done.stderr
    assert "unreadable images" in done.stdout
    assert "1 unreadable image" in " ".join(subspace("status", torn).stdout.split())
    shutil.rmtree(torn)


def test_weights_that_the_last_step_loses_are_no_checkpoint(small_manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = ("pretrain.steps=1", "pretrain.optimizer.lr=3e37", "pretrain.optimizer.warmup_steps=0")
    done = subspace("init", folder, "--manifest", small_manifest, *QUICK, *settings)
    assert done.returncode == 0, done.stderr
    assert "step 1: the weights hold NaN or infinity" in run("pretrain", folder, 2)
    assert not (folder / "start" / "checkpoint").exists()

"""`subspace init`: what it changes, what it says and what it refuses; with pipeline/new_run/choices.py and
pipeline/new_run/network_facts.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from changed_manifests import drawn_anew
from conftest import subspace
from torch import Tensor, nn

from subspace.mining import InputError
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.learning_rate.families import SEARCHED_RATES
from subspace.pipeline.new_run import initialize
from subspace.pipeline.new_run.initialize import Initialized, begin_run
from subspace.pipeline.new_run.network_facts import examine_network
from subspace.pipeline.run_directory import RunDirectory
from subspace.train import build_backbone
from subspace.train.checkpoint import save_checkpoint
from subspace.train.checkpoint_meta import CheckpointMeta


def manifest_of(path: Path, *splits: str, identities: int, images: int = 2) -> Path:
    """A manifest of images that are nowhere; the splits take turns over the identities."""
    identity_id = np.repeat(np.arange(identities, dtype=np.int32), images)
    split = np.array(splits)[np.arange(identities) % len(splits)]
    count = len(identity_id)
    table = pa.table(
        {
            "identity": pa.array([f"{i:07d}" for i in range(identities)]).take(pa.array(identity_id)),
            "identity_id": identity_id,
            "uri": pa.array(["a.png"] * count).dictionary_encode(),
            "offset": pa.array(np.arange(count)),
            "length": pa.array(np.ones(count, np.int64)),
            "split": pa.array(split).take(pa.array(identity_id)).dictionary_encode(),
            "keep": np.ones(count, bool),
        }
    )
    write_parquet(path, MANIFEST, table, "0" * 32)
    return path


def begin(
    folder: Path, manifest: Path, *overrides: str, model: str = "small", recipe: str = "default"
) -> Initialized:
    return begin_run(RunDirectory(folder / "run"), manifest, model, overrides, recipe=recipe, force=True)


def changed(config: RunConfig) -> dict[str, Any]:
    """`section.key` of all that is not the default."""

    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in values.items():
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return found

    default = flat(RunConfig(manifest="").model_dump())
    return {key: value for key, value in flat(config.model_dump()).items() if value != default[key]}


ALL_SPLITS = ("train", "train", "train", "pretrain", "val", "test")


def test_a_large_manifest_has_the_defaults_but_for_the_rate_of_the_network(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "m.parquet", *ALL_SPLITS, identities=225_000)  # 150,000 to train on
    done = begin(tmp_path, manifest)
    assert changed(load_config(tmp_path / "run" / "subspace.yaml")) == {
        "manifest": str(manifest),
        "train.optimizer.lr": SEARCHED_RATES["small"],
    }
    assert [choice.setting for choice in done.choices] == ["train.optimizer.lr"]
    assert changed(begin(tmp_path, manifest, model="iresnet18").config) == {
        "manifest": str(manifest),
        "model": "iresnet18",
    }


def test_a_small_manifest_is_fitted_and_each_change_is_a_line(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "m.parquet", "train", "test", identities=80)
    done = begin(tmp_path, manifest)
    said = [str(choice) for choice in done.choices]
    assert said == [
        "data.train_splits = [train] (default [train, pretrain]): the manifest has no split pretrain",
        "data.pretrain_splits = [train] (default [pretrain]): the manifest has no split pretrain",
        "data.distractor_splits = [] (default [val]): the manifest has no split val",
        "plan.P = 40 (default 128): the manifest has 40 training identities",
        "cluster.ids_per_subspace = 40 (default 10,000): a batch, since a tenth of the 40 training identities is less",
        "train.optimizer.lr = 0.016 (default 0.001): searched with adamw for the small network, see BENCHMARKS.md",
    ]
    assert {choice.setting for choice in done.choices} == set(changed(done.config)) - {"manifest"}
    assert {f"  {line}" for line in said} <= set(done.lines())
    assert done.validation.startswith("none: ")
    assert "--val-fraction" in done.validation
    assert done.test == "40 identities (test), no distractors"


def test_splits_of_other_names_are_not_trained_on_unless_told(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "m.parquet", "0", "1", identities=80)
    with pytest.raises(InputError) as error:
        begin(tmp_path, manifest)
    assert str(error.value) == (
        f"{manifest} has no image in data.train_splits (train, pretrain): 0 has 80 images, 1 has 80 images; name those to train "
        "on, as in 'data.train_splits=[\"0\"]', or ingest with --split-map"
    )
    done = begin(tmp_path, manifest, 'data.train_splits=["0"]')
    said = "splits that no setting uses: 1 has 80 images (data.train_splits and its neighbours name them)"
    assert said in done.warnings


def test_a_tenth_of_the_identities_is_a_subspace(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "m.parquet", *ALL_SPLITS, identities=3_000)
    done = begin(tmp_path, manifest)
    assert (done.config.plan.P, done.config.cluster.ids_per_subspace) == (128, 200)


def test_what_is_given_stays(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "m.parquet", *ALL_SPLITS, identities=120)
    given = (
        "plan.P=20",
        "cluster.ids_per_subspace=9000",
        "train.optimizer.lr=0.5",
        "data.train_splits=[train]",
    )
    config = begin(tmp_path, manifest, *given).config
    assert (config.plan.P, config.cluster.ids_per_subspace, config.train.optimizer.lr) == (20, 9000, 0.5)
    assert config.data.train_splits == ("train",)


def test_a_rate_found_with_adamw_is_not_for_another_optimizer(tmp_path: Path, small_manifest: Path) -> None:
    done = begin(tmp_path, small_manifest, "train.optimizer.name=sgd")
    assert done.config.train.optimizer.lr == RunConfig(manifest="").train.optimizer.lr
    assert any(
        "never searched" in line and f"`subspace lr {done.path.parent}`" in line for line in done.lines()
    )


def test_a_checkpoint_has_the_rate_of_its_family_and_no_pretraining(
    tmp_path: Path, small_manifest: Path
) -> None:
    network = build_backbone("small")
    save_checkpoint(tmp_path / "c", network, CheckpointMeta("small", network.embedding_size, 0, "f"))
    done = begin(tmp_path, small_manifest, model=f"checkpoint:{tmp_path / 'c'}")
    assert done.config.train.optimizer.lr == SEARCHED_RATES["small"]
    assert done.config.pretrain.steps == 0
    assert (
        begin(tmp_path, small_manifest, "pretrain.steps=7", model=done.config.model).config.pretrain.steps
        == 7
    )


def test_a_checkpoint_that_was_trained_on_test_identities_is_warned_of(
    tmp_path: Path, small_manifest: Path, finished_run: Path
) -> None:
    """A network was fine-tuned and tested without a word, when it began with one that had learned the test identities."""
    other = drawn_anew(small_manifest, tmp_path / "other.parquet")
    model = f"checkpoint:{finished_run}/round-000/checkpoint"
    (said,) = begin(tmp_path, other, SMALL_SUBSPACES, model=model).warnings
    assert said.startswith(
        "6 of 16 test identities are, by name, among those that finished/round-000 was trained on"
    )
    assert begin(tmp_path, small_manifest, SMALL_SUBSPACES, model=model).warnings == []
    assert begin(tmp_path, other, SMALL_SUBSPACES).warnings == []
    validated = "data.val_splits=[test]", "data.test_splits=[val]", "data.distractor_splits=[]"
    (said,) = begin(tmp_path, other, SMALL_SUBSPACES, *validated, model=model).warnings
    assert said.startswith("6 of 16 validation identities are")


def test_a_recipe_wins_over_choices_and_overrides_win_over_it(tmp_path: Path, small_manifest: Path) -> None:
    done = begin(tmp_path, small_manifest, recipe="facenet")
    optimizer = done.config.train.optimizer
    assert (optimizer.name, optimizer.lr, done.config.plan.K) == ("adagrad", 0.05, 40)
    text = (tmp_path / "run" / "subspace.yaml").read_text()
    assert text.startswith("# recipe facenet: Semi-hard triplets")
    assert "# source: Schroff" in text

    forced = begin(
        tmp_path, small_manifest, "data.train_splits=[pretrain]", recipe="facenet"
    )  # 16 identities
    assert "plan.P = 16 (recipe 45): the manifest has 16 training identities" in map(str, forced.choices)

    other = begin(tmp_path, small_manifest, "train.loss=batch_ohnm", "plan.K=2", recipe="facenet").config
    assert (other.train.loss, other.plan.K) == ("batch_ohnm", 2)
    assert "semi_hard" not in other.train.loss_args
    repeated = begin(tmp_path, small_manifest, "train.optimizer.name=adagrad", recipe="facenet").config
    assert repeated.train.optimizer.lr == 0.05


def test_settings_that_another_command_has_just_written_are_not_replaced(
    tmp_path: Path, small_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")

    def meanwhile(*_: object) -> object:
        run.config.parent.mkdir(parents=True, exist_ok=True)
        run.config.write_text("rounds: 7\n")
        return examine_network(*_)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(initialize, "examine_network", meanwhile)
    with pytest.raises(InputError, match=r"subspace\.yaml exists; change it with an editor"):
        begin_run(run, small_manifest, "small", ["pretrain.steps=0"], force=False)
    assert run.config.read_text() == "rounds: 7\n"


def test_a_full_disk_leaves_the_kept_settings_with_the_old_ones(
    tmp_path: Path, small_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, small_manifest)
    (kept := tmp_path / "run" / "overrides.json").write_text("{}")

    def full(*_: object) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(initialize, "write_config", full)
    with pytest.raises(InputError, match="the disk is full"):
        begin(tmp_path, small_manifest)
    assert kept.exists()


@pytest.mark.parametrize(("settings", "warned"), [
    (("rounds=2", "plan.steps=50"), ["train.optimizer.warmup_steps=100 takes all 100 steps"]),
    (("pretrain.steps=30",), ["pretrain.optimizer.warmup_steps=100 takes all 30 steps"]),
    (("pretrain.steps=0", "rounds=2", "plan.steps=51"), []),
])  # fmt: skip
def test_a_run_that_is_all_warm_up_is_warned_of(
    tmp_path: Path, small_manifest: Path, settings: tuple[str, ...], warned: list[str]
) -> None:
    warnings = begin(tmp_path, small_manifest, *settings, SMALL_SUBSPACES).warnings
    assert [line.partition(":")[0] for line in warnings] == warned


class FlatNetwork(nn.Module):
    """No linear layer, and embeddings all the same."""

    input_size, embedding_size = 16, 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).mean((2, 3))


class MapNetwork(FlatNetwork):
    """Ends in a map of features, as a network without its pooling and head does."""

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


class BlockNetwork(nn.Module):
    """Its last linear layer is the inside of its last block, as in a vision transformer without classifier."""

    input_size, embedding_size = 16, 8

    def __init__(self, *, head: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 16)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)) for _ in range(2)))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 8) if head else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.stem(images).flatten(1))))


def block_network_with_head() -> nn.Module:
    return BlockNetwork(head=True)


def own(name: str) -> str:
    return f"python:test_initialize_networks:{name}"


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this file's networks importable under a name of their own."""
    import sys

    monkeypatch.setitem(sys.modules, "test_initialize_networks", sys.modules[__name__])


DIVIDED = "train.optimizer.body_lr_factor=0.1"
SMALL_SUBSPACES = "cluster.ids_per_subspace=12"


@pytest.mark.usefixtures("networks")
def test_a_network_without_a_head_is_refused_where_it_needs_one(tmp_path: Path, small_manifest: Path) -> None:
    done = begin(tmp_path, small_manifest, model=own("FlatNetwork"))
    assert done.network.head == []
    for settings in (
        DIVIDED,
        "train.optimizer.unfreeze.head_steps=5",
        "pretrain.optimizer.body_lr_factor=0.5",
    ):
        with pytest.raises(InputError, match="no linear layer to take for its head"):
            begin(tmp_path, small_manifest, settings, model=own("FlatNetwork"))
    named = begin(tmp_path, small_manifest, DIVIDED, "train.optimizer.head=[conv]", model=own("FlatNetwork"))
    assert named.network.head == ["conv"]


@pytest.mark.usefixtures("networks")
def test_a_network_that_makes_no_embeddings_is_refused(tmp_path: Path, small_manifest: Path) -> None:
    with pytest.raises(InputError, match=r"makes \[1, 8, 14, 14\] of one image, not \[1, 8\]"):
        begin(tmp_path, small_manifest, model=own("MapNetwork"))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("networks")
def test_the_head_is_printed_and_one_inside_a_block_is_warned_of(
    tmp_path: Path, small_manifest: Path
) -> None:
    doubtful = begin(tmp_path, small_manifest, DIVIDED, SMALL_SUBSPACES, model=own("BlockNetwork"))
    assert doubtful.network.head == ["blocks.1.1", "norm"]
    assert [line for line in doubtful.warnings if "blocks.1.1, is a part of blocks" in line]
    sound = begin(tmp_path, small_manifest, DIVIDED, SMALL_SUBSPACES, model=own("block_network_with_head"))
    assert sound.network.head == ["head"]
    assert sound.warnings == []
    assert "  head        head: 72 weights; the rest trains at 0.1 of its rate" in sound.lines()
    small = begin(tmp_path, small_manifest, DIVIDED, SMALL_SUBSPACES)
    assert (small.network.head, small.warnings) == (["fc", "features"], [])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "look-alikes are sought among all identities"),
        (["plan.strategy=subspace"], "batches are random"),
    ],
)
def test_a_set_as_small_as_a_batch_is_said_to_be_one_subspace(
    tmp_path: Path, small_manifest: Path, settings: list[str], words: str
) -> None:
    made = begin(tmp_path, small_manifest, *settings)
    assert (made.config.plan.P, made.config.cluster.ids_per_subspace) == (48, 48)
    assert made.warnings == [f"one subspace holds all 48 identities: {words}"]


def test_more_identities_in_a_batch_than_there_are_is_refused(tmp_path: Path, small_manifest: Path) -> None:
    with pytest.raises(InputError, match=r"plan\.P=100 identities in a batch, but only 48 to draw from"):
        begin(tmp_path, small_manifest, "plan.P=100")


def test_the_command_says_it_to_people_and_programs(tmp_path: Path, small_manifest: Path) -> None:
    run = tmp_path / "run"
    done = subspace("init", run, "--manifest", small_manifest, "--recipe", "paper")
    assert done.returncode == 0, done.stderr
    assert "every image is stretched to 32 × 32 px, bilinear; RGB, (x / 255 - 0.5) / 0.5" in done.stdout
    assert "each training image about 666.7 times" in done.stdout  # 2,000 steps of 48 x 2 images over 288
    done = subspace("init", run, "--manifest", small_manifest, "--force", "--json")
    told = json.loads(done.stdout)
    assert told["recipe"] == "default"
    assert {"setting": "plan.P", "value": 48, "before": 128}.items() <= next(
        choice for choice in told["choices"] if choice["setting"] == "plan.P"
    ).items()
    assert told["network"]["input"]["size"] == 32


def test_a_frozen_network_is_offered_what_it_can_do(tmp_path: Path, small_manifest: Path) -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    torch.jit.script(body).save(str(tmp_path / "net.ts"))
    settings = [f"preprocess.{s}" for s in ("size=8", "mean=0.5", "std=0.5", "channels=RGB")]
    run = tmp_path / "a run"
    done = subspace(
        "init", run, "--manifest", small_manifest, "--model", f"torchscript:{tmp_path}/net.ts", *settings
    )
    assert done.returncode == 0, done.stderr
    assert "nothing of a frozen network trains" in done.stdout
    assert not [
        line for line in done.stdout.splitlines() if line.lstrip().startswith(("rate ", "steps ", "start "))
    ]
    loop = f"for stage in pretrain extract cluster plan eval; do subspace $stage '{run}' || break; done"
    assert f"next: {loop}" in done.stdout


def test_a_list_of_images_is_no_manifest_yet(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("label,path\na,a.png\n")
    done = subspace("init", tmp_path / "run", "--manifest", tmp_path / "images.csv")
    assert done.returncode == 2
    assert f"`subspace ingest {tmp_path}/images.csv --out FILE` makes a manifest" in done.stderr

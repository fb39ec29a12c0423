"""Pretraining: which identities, with which loss, and what of a pretrained network moves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from running_processes import wait
from safetensors.torch import load_file
from torch import Tensor

from subspace.mining import InputError, Manifest
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.stages.pretrain import pretrain_identities
from subspace.train.networks.building import build_backbone


def begin(run: Path, manifest: Path, *settings: str, model: str = "small") -> None:
    done = subspace("init", run, "--manifest", manifest, "--model", model, *QUICK, *settings)
    assert done.returncode == 0, done.stderr


def pretrained(run: Path, manifest: Path, *settings: str, model: str = "small") -> dict[str, Tensor]:
    begin(run, manifest, *settings, model=model)
    done = subspace("pretrain", run)
    assert done.returncode == 0, done.stderr
    return load_file(run / "start" / "checkpoint" / "model.safetensors")


def config_with(**pretrain: object) -> RunConfig:
    return parse_config(
        {"manifest": "m", "data": {"pretrain_splits": ["train", "pretrain"]}, "pretrain": pretrain},
        [],
        "test",
    )


@pytest.fixture(scope="module")
def uneven(small_manifest: Path) -> Manifest:
    """The small manifest, whose identities have 1 to 6 images."""
    table = pq.read_table(small_manifest)
    seen: Counter[int] = Counter()
    kept = []
    for identity in table["identity_id"].to_pylist():
        kept.append(seen[identity] <= identity % 6)
        seen[identity] += 1
    return Manifest(small_manifest, table.filter(kept), "uneven")


@pytest.mark.parametrize("min_images", [1, 3, 6])
@pytest.mark.parametrize("identities", [None, 2, 7, 1000])
def test_the_identities_are_those_that_were_asked_for(
    uneven: Manifest, min_images: int, identities: int | None
) -> None:
    chosen = pretrain_identities(config_with(min_images=min_images, identities=identities), uneven)
    images: dict[int, list[int]] = {}
    for image, (identity, split) in enumerate(
        zip(uneven.identity_id.tolist(), uneven.table["split"].to_pylist(), strict=True)
    ):
        if split in ("train", "pretrain"):
            images.setdefault(identity, []).append(image)
    eligible = {identity: own for identity, own in images.items() if len(own) >= min_images}
    assert len(chosen) == min(len(eligible), identities or 10**9)
    for i, identity in enumerate(chosen.identity_id.tolist()):
        assert chosen.image_id[chosen.offset[i] : chosen.offset[i + 1]].tolist() == eligible[identity]


def test_a_draw_of_fewer_is_part_of_a_draw_of_more_and_follows_the_seed(uneven: Manifest) -> None:
    def drawn(n: int, seed: int = 0) -> set[int]:
        config = config_with(identities=n).model_copy(update={"seed": seed})
        return set(pretrain_identities(config, uneven).identity_id.tolist())

    assert drawn(5) < drawn(12) < drawn(30)
    assert drawn(12, seed=1) != drawn(12)
    # by chance, not by the number of images: on average those of everybody
    everybody = pretrain_identities(config_with(), uneven)
    of = dict(zip(everybody.identity_id.tolist(), everybody.count.tolist(), strict=True))
    means = [np.mean([of[identity] for identity in drawn(12, seed)]) for seed in range(40)]
    assert abs(np.mean(means) - everybody.count.mean()) < 4 * np.std(means) / 40**0.5


def test_too_few_are_refused(uneven: Manifest) -> None:
    with pytest.raises(InputError, match=r"0 identities with pretrain.min_images=7 or more in data"):
        pretrain_identities(config_with(min_images=7), uneven)
    with pytest.raises(InputError, match="identities=1"):
        config_with(identities=1)


@pytest.mark.parametrize(
    ("settings", "classes"),
    [
        pytest.param(
            ("pretrain.loss=cosface", "pretrain.loss_args.cosface.scale=16"), 16, marks=pytest.mark.slow
        ),
        pytest.param(
            ("pretrain.loss=partial_fc", "pretrain.loss_args.partial_fc={kind: cosface, share: 0.5}"),
            16,
            marks=pytest.mark.slow,
        ),
        (("pretrain.loss=softmax + 0.5*batch_ohnm", "pretrain.identities=9"), 9),
    ],
)
def test_other_losses_and_fewer_identities(
    small_manifest: Path, tmp_path: Path, settings: tuple[str, ...], classes: int
) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest, *settings)
    done = subspace("pretrain", run)
    assert done.returncode == 0, done.stderr
    assert f"{settings[0].removeprefix('pretrain.loss=')} over {classes} identities" in done.stdout
    weights = load_file(run / "start" / "checkpoint" / "loss.safetensors")
    assert [len(value) for name, value in weights.items() if name.endswith("weight")] == [classes]
    used = {
        identity
        for row in pq.read_table(run / "start" / "plan")["identity_ids"].to_pylist()
        for identity in row
    }
    assert len(used) <= classes


def test_a_loss_that_makes_no_sense_is_refused_at_once(small_manifest: Path, tmp_path: Path) -> None:
    done = subspace("init", tmp_path / "run", "--manifest", small_manifest, "pretrain.loss=batch_ohnm")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pretrain.loss=batch_ohnm has no class loss" in done.stderr
    assert not (tmp_path / "run" / "subspace.yaml").exists()


@pytest.fixture(scope="module")
def start(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained checkpoint to continue from."""
    run = tmp_path_factory.mktemp("start") / "run"
    pretrained(run, small_manifest)
    return run / "start" / "checkpoint"


def moved_parts(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.split(".")[1] for name in before if not before[name].equal(after[name])}


def test_pretraining_goes_on_from_a_checkpoint_with_the_head_alone(
    small_manifest: Path, tmp_path: Path, start: Path
) -> None:
    after = pretrained(
        tmp_path / "run",
        small_manifest,
        "pretrain.optimizer.unfreeze.head_steps=all",
        model=f"checkpoint:{start}",
    )
    before = load_file(start / "model.safetensors")
    assert moved_parts(before, after) == {"fc", "features"}
    assert set(before) == set(build_backbone("small").state_dict())


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_stage_gives_the_same_bytes(
    small_manifest: Path, tmp_path: Path, start: Path
) -> None:
    """Two rounds of 12 steps: head only to step 5, then a block every 8 steps."""
    stages = ("train.optimizer.unfreeze.head_steps=5", "train.optimizer.unfreeze.block_steps=8")
    for name in ("whole", "killed"):
        begin(
            tmp_path / name, small_manifest, "pretrain.steps=0", "plan.steps=12", *stages,
            model=f"checkpoint:{start}",
        )  # fmt: skip
    for index in (0, 1):
        resume = tmp_path / "killed" / f"round-00{index}" / "resume"
        process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "run", str(tmp_path / "killed"), "--quiet"]
        )
        while process.poll() is None and not (resume / "step-00000003" / "meta.json").exists():
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert resume.exists()
    for name in ("whole", "killed"):
        done = subspace("run", tmp_path / name)
        assert done.returncode == 0, done.stderr
    weights = []
    for index in (0, 1):
        for file in ("model.safetensors", "optimizer.safetensors"):
            whole, killed = (
                tmp_path / name / f"round-00{index}" / "checkpoint" / file for name in ("whole", "killed")
            )
            assert whole.read_bytes() == killed.read_bytes()
        weights.append(
            load_file(tmp_path / "whole" / f"round-00{index}" / "checkpoint" / "model.safetensors")
        )
    # The last block trains in steps 5-12, the one before it from 13, the next from 21 on; the first never does.
    begun = load_file(start / "model.safetensors")
    for after, moved in zip(weights, ({"10"}, {"10", "7", "4"}), strict=True):
        kernels = {block: f"body.convolutions.{block}.weight" for block in ("0", "4", "7", "10")}
        assert {b for b, name in kernels.items() if not begun[name].equal(after[name])} == moved


def test_a_changed_stage_is_named(start: Path) -> None:
    done = subspace("pretrain", start.parent.parent, "pretrain.optimizer.unfreeze.head_steps=all")
    assert done.returncode == 3
    assert "pretrain.optimizer.unfreeze.head_steps=0" in done.stderr


def test_a_run_that_is_moved_in_the_middle_ends_its_command(small_manifest: Path, tmp_path: Path) -> None:
    """It ended well, and its network lay in a new folder where the run had been."""
    run, moved = tmp_path / "run", tmp_path / "moved"
    begin(run, small_manifest, "pretrain.steps=600", "pretrain.log_every=1", "pretrain.save_every=1000")
    metrics = run / "start" / "metrics.jsonl"

    def move() -> None:
        wait(lambda: metrics.exists() and metrics.stat().st_size)
        run.rename(moved)

    mover = threading.Thread(target=move, daemon=True)
    mover.start()
    done = subspace("pretrain", run)
    mover.join()
    assert done.returncode == 2, done.stderr
    said = done.stderr.splitlines()[-1]  # after what TensorBoard says of its file
    assert re.fullmatch(rf"subspace: {run} was moved, .* continues from what is saved", said)
    assert not run.exists()
    assert not (moved / "start" / "done").exists()
    assert subspace("status", moved).returncode == 0


def test_augmentation_changes_the_network(small_manifest: Path, tmp_path: Path, start: Path) -> None:
    shifted = pretrained(tmp_path / "run", small_manifest, "pretrain.augment.shift=2")
    assert moved_parts(load_file(start / "model.safetensors"), shifted) == {"convolutions", "fc", "features"}


def test_a_head_that_the_network_has_not_is_named(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    done = subspace("pretrain", run, "pretrain.optimizer.head=[neck]")
    assert done.returncode == 2
    assert "no parameters in 'neck'; it has convolutions, fc, features" in done.stderr
    assert done.stderr.count("\n") == 1

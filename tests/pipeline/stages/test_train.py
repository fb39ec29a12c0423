"""Fields of training stages: the names under which a stored run has its settings; and a training on another device."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import subspace

from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.pretrain import pretrain_fields
from subspace.pipeline.stages.train import train_fields
from subspace.train.checkpoint_meta import CheckpointMeta


def test_fields_keep_the_older_names_of_loss_settings(tmp_path: Path) -> None:
    settings = {
        "manifest": "images.parquet",
        "pretrain": {"loss": "softmax + xbm:batch_all", "loss_args": {"xbm": {"memory_size": 9}}},
    }
    context: Any = SimpleNamespace(
        config=parse_config(settings, [], "test"),
        run=RunDirectory(tmp_path),
        manifest=SimpleNamespace(fingerprint="f"),
        round_index=0,
    )
    fields = train_fields(context)
    assert fields["train.loss_args.multi_similarity.threshold"] == 0.8
    assert not any(key.endswith(".base") for key in fields)
    assert pretrain_fields(context)["pretrain.loss_args.xbm.size"] == 9


@pytest.mark.slow
def test_another_device_goes_on_with_a_line_and_nothing_is_stale(finished_run: Path, tmp_path: Path) -> None:
    """As if the first six steps had been taken on a GPU."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    folder = run / "round-000"
    (folder / "done" / "train.json").unlink()
    state = folder / "resume" / "step-00000006"
    state.parent.mkdir(exist_ok=True)
    (folder / "checkpoint").rename(state)
    meta = json.loads((state / "meta.json").read_text())
    assert meta["arithmetic"] == {"device": "cpu", "precision": "32-true", "channels_last": False}
    there = {"device": "cuda", "precision": "bf16-mixed", "channels_last": True}
    changed = CheckpointMeta(**{**meta, "step": 6, "arithmetic": there})
    (state / "meta.json").write_text(changed.to_json())

    done = subspace("train", run, "--round", "0", "--device", "cpu")

    assert done.returncode == 0, done.stderr
    assert (
        "round-000/train: on cpu, 32-true, contiguous, 0 loader processes, JPEGs by simplejpeg 1.9.0; "
        "on cuda before, precision was bf16-mixed, channels_last was True" in done.stdout
    )
    assert json.loads((folder / "checkpoint" / "meta.json").read_text())["arithmetic"] == meta["arithmetic"]
    marker = json.loads((folder / "done" / "train.json").read_text())
    assert (marker["fields"]["train.precision"], marker["summary"]["precision"]) == ("auto", "32-true")
    assert (marker["fields"]["train.channels_last"], marker["summary"]["channels_last"]) == ("auto", False)


AUGMENT = [
    "train.augment.crop=[0.6,1]", "train.augment.brightness=0.4", "train.augment.contrast=0.4",
    "train.augment.saturation=0.4", "train.augment.grey=0.2", "train.augment.low_resolution=0.3",
    "train.augment.erase=0.3", "train.augment.functions=[python:my_changes:darker]",
]  # fmt: skip
DARKER = """
import torch
def darker(images, random):
    by = torch.tensor([own.random() for own in random]).view(-1, 1, 1, 1)
    return (images * by).to(torch.uint8)
"""


def first_loss(folder: Path) -> float:
    return json.loads((folder / "metrics.jsonl").read_text().partition("\n")[0])["loss"]


@pytest.mark.slow
def test_a_training_with_changed_images_ends_with_the_same_bytes_after_a_stop_and_with_workers(
    finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (tmp_path / "my_changes.py").write_text(DARKER)
    shutil.copytree(finished_run, run)
    folder, weights = run / "round-000", Path("checkpoint", "model.safetensors")
    plain = (folder / weights).read_bytes()
    command = ("train", run, "--round", "0", "train.keep_last=9", "train.log_every=1", *AUGMENT)
    stale = subspace(*command, cwd=tmp_path)
    assert stale.returncode == 3
    assert "train.augment.crop=not set, now it is [0.6, 1.0]" in stale.stderr

    done = subspace(*command, "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, loss = (folder / weights).read_bytes(), first_loss(folder)
    assert whole != plain

    (folder / "done" / "train.json").unlink()  # as if it had been killed after its first save
    shutil.rmtree(folder / "checkpoint")
    shutil.rmtree(folder / "resume" / "step-00000006")
    done = subspace(*command, "train.num_workers=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resuming at step 3 of 8" in done.stdout
    assert (folder / weights).read_bytes() == whole

    done = subspace(*command, "train.num_workers=0", "--processes", "2", "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert first_loss(folder) == pytest.approx(
        loss, rel=1e-4
    )  # later ones part, by rounding and hard triplets


def test_weights_that_diverge_end_in_a_line_and_are_not_saved(finished_run: Path, tmp_path: Path) -> None:
    """As on a GPU, where embeddings are not looked at in every step."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    folder = run / "round-000"
    (folder / "done" / "train.json").unlink()
    shutil.rmtree(folder / "checkpoint")
    script = (
        "import sys; from subspace.train.losses import pair_engine\n"
        "pair_engine.check_finite = lambda unit: None\n"
        "from subspace.pipeline.cli import main; main()"
    )
    words = ["train", str(run), "--round", "0", "--device", "cpu", "train.optimizer.lr=1e30", "train.optimizer.clip_norm=null",
             "train.optimizer.warmup_steps=0", "--force"]  # fmt: skip

    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stderr
    assert "the loss is nan, the embeddings hold NaN or infinity: lower the learning rate" in done.stderr
    assert not (folder / "checkpoint").exists()
    assert not (folder / "done" / "train.json").exists()

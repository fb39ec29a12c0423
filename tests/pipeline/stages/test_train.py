"""Fields of training stages: the names under which a stored run has its settings; and a training on another device."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import subspace

from subspace.pipeline.config import parse_config
from subspace.pipeline.stages.pretrain import pretrain_fields
from subspace.pipeline.stages.train import train_fields


def test_fields_keep_the_older_names_of_loss_settings() -> None:
    settings = {
        "manifest": "images.parquet",
        "pretrain": {"loss": "softmax + xbm:batch_all", "loss_args": {"xbm": {"memory_size": 9}}},
    }
    context: Any = SimpleNamespace(
        config=parse_config(settings, [], "test"),
        run=None,
        manifest=SimpleNamespace(fingerprint="f"),
        round_index=0,
    )
    fields = train_fields(context)
    assert fields["train.loss_args.multi_similarity.threshold"] == 0.8
    assert not any(key.endswith(".base") for key in fields)
    assert pretrain_fields(context)["pretrain.loss_args.xbm.size"] == 9


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
    (state / "meta.json").write_text(json.dumps({**meta, "step": 6, "arithmetic": there}))

    done = subspace("train", run, "--round", "0", "--device", "cpu")

    assert done.returncode == 0, done.stderr
    assert (
        "round-000/train: on cpu, 32-true, contiguous, 0 loader processes; "
        "on cuda before, precision was bf16-mixed, channels_last was True" in done.stdout
    )
    assert json.loads((folder / "checkpoint" / "meta.json").read_text())["arithmetic"] == meta["arithmetic"]
    marker = json.loads((folder / "done" / "train.json").read_text())
    assert (marker["fields"]["train.precision"], marker["summary"]["precision"]) == ("auto", "32-true")
    assert (marker["fields"]["train.channels_last"], marker["summary"]["channels_last"]) == ("auto", False)

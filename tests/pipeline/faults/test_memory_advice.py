"""Memory that runs out, in the network or in the loss: exit 2, and one line with settings that need less."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
from conftest import QUICK, subspace

from subspace.mining.errors import InputError
from subspace.pipeline import cli
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.faults.memory_advice import in_words, shortages_in_words
from subspace.train.losses import MultiSimilarityLoss
from subspace.train.memory_errors import Shortage

GiB = 2**30
TEXT = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB of which 1.10 GiB is free. "
    "Including non-PyTorch memory, this process has 78.10 GiB memory in use."
)
HUNGRY = f'''
import torch
from torch import nn

class Hungry(nn.Module):
    """Runs out of memory on real images, in training or in evaluation; an estimate gives it black ones."""

    def __init__(self, in_training):
        super().__init__()
        self.layers, self.in_training = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 32)), in_training
        self.input_size, self.embedding_size = 32, 32

    def forward(self, images):
        if self.training == self.in_training and images.std() > 0:
            raise torch.OutOfMemoryError({TEXT!r})
        return self.layers(images)

def in_training():
    return Hungry(True)

def in_evaluation():
    return Hungry(False)
'''


def config(*overrides: str) -> RunConfig:
    return parse_config({"manifest": "images.parquet"}, list(overrides), "test")


ON_GPU, IN_LOSS = (
    Shortage("cuda:0", 2 * GiB, GiB, 80 * GiB),
    Shortage("cuda:0", 60 * GiB, GiB, 80 * GiB, in_loss=True),
)
ADVICE = [
    (ON_GPU, "train", 1, ["plan.P=128", "plan.K=2", "train.precision=32-true"],
     "train: more memory is needed than cuda:0 has: 2.1 GB were asked for, 1.1 GB of 85.9 GB were free; set train.chunk_size=128 "
     "(it embeds 256 images at a time), or train.precision=bf16-mixed, or plan.P=64 (it is 128)"),
    (ON_GPU, "train", 1, ["train.chunk_size=64", "train.precision=bf16-mixed"], "set train.chunk_size=32 (it embeds 64 images at a time), or plan.P=64"),
    (ON_GPU, "train", 4, [], "train.chunk_size=32 (it embeds 64 images at a time)"),
    (ON_GPU, "train", 1, ["plan.P=24", "plan.strategy=doppelganger", "plan.group_size=8"], "plan.P=8 (it is 24)"),
    (IN_LOSS, "train", 1, [], "64.4 GB were asked for by the loss, 1.1 GB of 85.9 GB were free; set plan.P=64"),
    (ON_GPU, "pretrain", 1, ["pretrain.P=32", "pretrain.K=4", "pretrain.precision=tf32"], "set pretrain.chunk_size=64 (it embeds 128 images at a time), or pretrain.precision=bf16-mixed, or pretrain.P=16"),
    (ON_GPU, "extract", 1, ["extract.precision=32-true"], "set extract.batch_size=128 (it is 256) or extract.precision=bf16-mixed"),
    (ON_GPU, "extract", 1, [], "set extract.batch_size=128 (it is 256)"),
    (ON_GPU, "eval", 1, ["extract.precision=bf16-mixed"], "set extract.batch_size=128 (it is 256)"),
    (ON_GPU, "cluster", 1, [], "set cluster.max_points_per_centroid=128 for a smaller sample, or a larger cluster.ids_per_subspace (it is 10000)"),
    (Shortage("cpu", 10**18), "cluster", 1, [], "this machine has: 1,000,000.0 TB were asked for, "),
    (Shortage("cpu", 10**18), "plan", 1, [], "close other programs"),
]  # fmt: skip


@pytest.mark.parametrize(("shortage", "stage", "processes", "settings", "words"), ADVICE)
def test_the_line_names_what_was_asked_and_settings_that_need_less(
    shortage: Shortage, stage: str, processes: int, settings: list[str], words: str
) -> None:
    assert words in in_words(shortage, stage, config(*settings), processes)


def test_advice_is_a_setting_that_may_be_given() -> None:
    for shortage, stage, processes, settings, _ in ADVICE:
        line = in_words(shortage, stage, config(*settings), processes)
        given = [word.strip(",;") for word in line.split() if "=" in word]
        config(*settings, *given)  # an unknown key or a wrong value is refused


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), shortages_in_words("train", config()):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(InputError, match=r"train\.chunk_size"), shortages_in_words("train", config()):
        raise torch.OutOfMemoryError(TEXT)


@pytest.mark.parametrize(("where", "command", "words"), [
    ("in_training", "run", "subspace: train: more memory is needed than cuda:0 has: 2.1 GB were asked for, 1.2 GB of 85.1 GB were free; set train.chunk_size=8 "),
    ("in_evaluation", "extract", "subspace: extract: more memory is needed than cuda:0 has: 2.1 GB were asked for, 1.2 GB of 85.1 GB were free; set extract.batch_size=32 "),
])  # fmt: skip
def test_a_network_without_memory_ends_with_2(
    where: str, command: str, words: str, small_manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "hungry.py").write_text(HUNGRY)
    settings = (
        *QUICK,
        "pretrain.steps=0",
        "data.val_splits=[none]",
        "data.test_splits=[none]",
    )
    done = subspace(
        "init", "run", "--manifest", small_manifest, "--model", f"python:hungry:{where}", *settings, cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if command == "extract":
        assert subspace("pretrain", "run", cwd=tmp_path).returncode == 0
    done = subspace(command, "run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(words)
    assert "Traceback" not in done.stderr


def test_a_loss_without_memory_ends_with_2(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")

    def hungry(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(TEXT)

    monkeypatch.setattr(MultiSimilarityLoss, "forward", hungry)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    arguments = ["train", str(run), "train.loss=multi_similarity", "--force", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["subspace", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("subspace: train: more memory is needed than cuda:0 has: ")

"""Runs that begin with a file: known by its content, needed once, and what a frozen network refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from conftest import QUICK, subspace
from made_up_runs import finish

from subspace.mining.errors import InputError
from subspace.pipeline.configuration.config_file import parse_config
from subspace.pipeline.network_identity import network_fields
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.context import Context
from subspace.train import build_backbone, load_network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a `small` network in a training's wrapper."""
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    state = build_backbone("small", seed=7).body.state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as a program, which says of itself how images are prepared."""
    path, network = tmp_path_factory.mktemp("program") / "net.pt2", build_backbone("small", seed=7).eval()
    exported = torch.export.export(
        network.body, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    said = {"input": json.dumps(network.input.to_json()), "preprocessing": "outside"}
    torch.export.save(exported, path, extra_files={"description.json": json.dumps(said)})
    return path


def begin(run: Path, manifest: Path, *words: str | Path) -> str:
    done = subspace(
        "init", run, "--manifest", manifest, *words, *[w for w in QUICK if "pretrain.steps" not in w]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def fields(run: Path) -> dict[str, object]:
    context = Context.open(run)
    return network_fields(context.config, context.run)


def test_a_run_begins_with_published_weights(weights: Path, small_manifest: Path, tmp_path: Path) -> None:
    run, own = tmp_path / "run", tmp_path / "own.pth"
    own.write_bytes(weights.read_bytes())
    said = begin(run, small_manifest, "--weights", own)
    assert "without 'state_dict.module.' before their names" in said
    assert "pretrain.steps = 0 (default 2,000): the network begins with published weights" in said
    first = fields(run)
    assert set(first) == {"model", "weights"}
    assert subspace("pretrain", run).returncode == 0
    network = load_network(f"checkpoint:{run}/start/checkpoint")
    assert torch.equal(network.body.fc.weight, build_backbone("small", seed=7).body.fc.weight)

    os.utime(own)  # as a copy is: another age, the same content
    assert fields(run) == first
    content = own.read_bytes()
    own.write_bytes(content[:-1] + b"x")
    assert fields(run) != first
    done = subspace("pretrain", run)
    assert done.returncode == 3
    assert "was made with weights=" in done.stderr
    own.unlink()
    assert fields(run) == first
    assert "already done" in subspace("pretrain", run).stdout
    done = subspace("extract", run)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("before", "known", "settings", "taken"),
    [
        ({"model": "small"}, {}, ["model=checkpoint:/nowhere"], None),
        ({"model": "small"}, {}, ["model=onnx:/nowhere.onnx"], None),
        ({"model": "checkpoint:aa"}, {}, ["model=checkpoint:/gone"], "checkpoint:aa"),  # of an older start
        ({"model": "checkpoint:aa"}, {"/gone": {}}, ["model=checkpoint:/gone"], "checkpoint:aa"),
        ({"model": "checkpoint:aa"}, {"/gone": {}}, ["model=checkpoint:/typo"], None),
        ({"model": "small", "weights": "bb"}, {"/gone.pth": {}}, ["weights=/gone.pth"], "bb"),
        ({"model": "small", "weights": "bb"}, {"/gone.pth": {}}, ["weights=/typo.pth"], None),
    ],
)
def test_only_what_served_may_be_gone(
    before: dict[str, str], known: dict[str, object], settings: list[str], taken: str | None, tmp_path: Path
) -> None:
    config = parse_config({"manifest": "photos.parquet"}, settings, "test")
    run = RunDirectory(tmp_path)
    finish(run.start, "pretrain", fields=before, steps=0, network_files=known)
    if taken is None:
        with pytest.raises(InputError, match=r"nowhere|typo"):
            network_fields(config, run)
    else:
        assert taken in network_fields(config, run).values()


def test_a_file_that_was_never_there_is_refused(small_manifest: Path, tmp_path: Path) -> None:
    for words in (["--weights", tmp_path / "w.pth"], ["--model", f"onnx:{tmp_path}/a.onnx"]):
        done = subspace("init", tmp_path / "run", "--manifest", small_manifest, *words)
        assert done.returncode == 2
        assert done.stderr.rstrip().endswith("no such file")


@pytest.mark.slow
def test_a_frozen_network_goes_as_far_as_a_plan_and_an_evaluation(
    program: Path, small_manifest: Path, tmp_path: Path
) -> None:
    frozen, built = tmp_path / "frozen", tmp_path / "built"
    said = begin(frozen, small_manifest, "--model", f"exported:{program}", "extract.precision=32-true")
    assert "pretrain.steps = 0 (default 2,000): the network is frozen" in said
    assert "net.pt2 is frozen and takes any number of float32 BCHW images; prepared as the file says" in said
    torch.save(build_backbone("small", seed=7).body.state_dict(), tmp_path / "w.pth")
    begin(built, small_manifest, "--weights", tmp_path / "w.pth", "extract.precision=32-true")
    results = []
    for run in (frozen, built):
        for stage in ("pretrain", "extract", "cluster", "plan", "eval"):
            done = subspace(stage, run)
            assert done.returncode == 0, done.stderr
        results.append(json.loads((run / "start" / "evaluation.json").read_text())["metrics"])
    for name, metric in results[0].items():
        assert metric["value"] == pytest.approx(results[1][name]["value"], abs=0.02), name

    for command in ("train", "run"):
        done = subspace(command, frozen)
        assert done.returncode == 2
        assert (
            "net.pt2 is frozen: `subspace extract`, `cluster`, `plan` and `eval` work with it" in done.stderr
        )
    assert subspace("pretrain", frozen, "pretrain.steps=2", "--force").returncode == 2
    again = tmp_path / "again"
    said = begin(again, small_manifest, "--model", f"checkpoint:{frozen}/start/checkpoint")
    assert "frozen" in subspace("run", again).stderr


def test_paths_are_kept_absolute(weights: Path, program: Path, small_manifest: Path, tmp_path: Path) -> None:
    here = program.parent
    done = subspace(
        "init", tmp_path / "run", "--manifest", small_manifest, "--model", "exported:net.pt2", cwd=here
    )
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "run" / "subspace.yaml").read_text()
    assert f'model: "exported:{here.resolve()}/net.pt2"' in settings


@pytest.mark.slow
def test_what_images_become_is_settled_with_the_start(small_manifest: Path, tmp_path: Path) -> None:
    """A later stage that is asked for other preprocessing refuses, and does not keep the setting for others."""
    run = tmp_path / "run"
    begin(run, small_manifest, "preprocess.resize=letterbox", "pretrain.steps=0")
    assert subspace("pretrain", run).returncode == 0
    for command in ("eval", "extract"):
        done = subspace(command, run, "preprocess.resize=crop")
        assert done.returncode == 3, done.stderr
        assert "was made with preprocess.resize=letterbox, now it is crop" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (run / "overrides.json").exists()
    assert subspace("eval", run, "preprocess.size=32").returncode == 0  # as it is


def test_a_size_that_the_network_cannot_take_is_one_line(small_manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(
        "import torch\n"
        "def net():\n"
        "    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8))\n"
        "    body.input_size, body.embedding_size = 16, 8\n"
        "    return body\n"
    )
    run = tmp_path / "run"
    done = subspace(
        "init", run, "--manifest", small_manifest, "--model", "python:fixed:net", "pretrain.steps=0",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = subspace("pretrain", run, "preprocess.size=20", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot embed an image of 20 × 20 px" in done.stderr
    assert "Traceback" not in done.stderr

"""Networks are equal by their content: wherever they lie, whatever their file is called."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from subspace.train import CheckpointMeta, build_backbone, load_network, save_checkpoint
from subspace.train.networks.weights_fingerprint import network_fingerprint


def test_a_copied_checkpoint_is_the_same_network(tmp_path: Path) -> None:
    network = build_backbone("small", embedding_size=8, seed=0)
    save_checkpoint(
        tmp_path / "one", network, CheckpointMeta("small", embedding_size=8, step=0, fingerprint="1")
    )
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    found = {network_fingerprint(load_network(f"checkpoint:{tmp_path / name}")) for name in ("one", "two")}
    assert found == {network_fingerprint(network)}


def test_any_weight_and_the_preprocessing_count() -> None:
    network = build_backbone("small", embedding_size=8, seed=0)
    before = network_fingerprint(network)
    own, network.input = network.input, replace(network.input, mean=0.25)
    assert network_fingerprint(network) != before
    network.input = own
    assert network_fingerprint(network) == before
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1
    assert network_fingerprint(network) != before

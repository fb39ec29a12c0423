"""Checkpoints: a folder of safetensors and readable JSON, whole or absent.

model.safetensors      weights and buffers of the network
optimizer.safetensors  optimiser state, one tensor per `PARAMETER.NAME` (absent in a starting network)
loss.safetensors       weights of a loss that has any
running.safetensors    running identity means, where they are gathered
meta.json              network spec, step, fingerprints, settings, parent
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..mining.artifacts import CREATED_BY, read_json, whole_folder
from ..mining.errors import InputError
from .backbones import Backbone, build_backbone
from .running_means import RunningMeans

SPEC_PREFIX = "checkpoint:"


@dataclass(frozen=True)
class CheckpointMeta:
    """What `meta.json` holds. No clock times: equal trainings give equal bytes."""

    spec: str
    """The network's own spec (`small`, `iresnet50`, ...), never `checkpoint:`."""
    embedding_size: int
    step: int
    """Steps of the plan that the weights have seen."""
    fingerprint: str
    """Of what the weights were made from: settings, plan, parent."""
    parent: str | None = None
    """Fingerprint of the checkpoint that training began with."""
    plan: str | None = None
    """Fingerprint of the plan."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run's whole configuration."""
    collapse: dict[str, Any] = field(default_factory=dict)
    """State of the collapse guard."""
    created_by: str = CREATED_BY


def save_checkpoint(
    folder: Path,
    network: Backbone,
    meta: CheckpointMeta,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    loss: nn.Module | None = None,
    running: RunningMeans | None = None,
) -> None:
    """Write a whole checkpoint folder or none."""
    with whole_folder(folder) as aside:
        save_file(_contiguous(network.state_dict()), aside / "model.safetensors")
        if optimizer is not None:
            save_file(_contiguous(_flat_state(optimizer)), aside / "optimizer.safetensors")
        if loss is not None and loss.state_dict():
            save_file(_contiguous(loss.state_dict()), aside / "loss.safetensors")
        if running is not None:
            save_file({"vector": running.vector}, aside / "running.safetensors")
        (aside / "meta.json").write_text(
            json.dumps(asdict(meta), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_meta(folder: Path) -> CheckpointMeta:
    """Read `meta.json` of a checkpoint.

    Raises:
        InputError: no checkpoint there, or a meta.json that is not ours.
    """
    if not (folder / "meta.json").is_file():
        raise InputError(f"{folder} is not a checkpoint (it has no meta.json)")
    values = read_json(folder / "meta.json")
    try:
        return CheckpointMeta(**values)
    except TypeError as error:
        raise InputError(f"{folder}/meta.json was not written by this program: {error}") from error


def load_state(
    folder: Path,
    network: Backbone,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    loss: nn.Module | None = None,
    running: RunningMeans | None = None,
) -> None:
    """Load a checkpoint into a network of the same shape, and into whatever else is given.

    Raises:
        InputError: a file is missing or damaged, or the shapes differ.
    """
    try:
        network.load_state_dict(load_file(folder / "model.safetensors"))
        if optimizer is not None:
            _load_flat_state(optimizer, load_file(folder / "optimizer.safetensors"))
        if loss is not None and loss.state_dict():
            loss.load_state_dict(load_file(folder / "loss.safetensors"))
        if running is not None:
            running.vector.copy_(load_file(folder / "running.safetensors")["vector"])
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"cannot load checkpoint {folder}: {' '.join(str(error).split())[:300]}") from error


def running_means_file(folder: Path) -> Path:
    """Where a checkpoint keeps the running identity means of its training.

    Raises:
        InputError: it has none.
    """
    path = folder / "running.safetensors"
    if not path.is_file():
        raise InputError(f"{folder} has no running means; train that round with recluster.refresh=running")
    return path


def load_running_means(folder: Path) -> RunningMeans:
    """The running identity means of a checkpoint whose training gathered them.

    Raises:
        InputError: it has none, or the file is damaged.
    """
    path = running_means_file(folder)
    try:
        return RunningMeans(load_file(path)["vector"])
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"cannot load {path}: {' '.join(str(error).split())[:300]}") from error


def load_network(spec: str, *, embedding_size: int | None = None, seed: int = 0) -> Backbone:
    """The network that `spec` names: built with fresh weights, or opened from `checkpoint:DIR`.

    Raises:
        InputError: unknown spec, no such checkpoint, or another embedding size than the checkpoint has.
    """
    if not spec.startswith(SPEC_PREFIX):
        return build_backbone(spec, embedding_size=embedding_size, seed=seed)
    folder = Path(spec.removeprefix(SPEC_PREFIX))
    meta = read_meta(folder)
    if embedding_size not in (None, meta.embedding_size):
        raise InputError(
            f"embedding_size={embedding_size}, but {folder} has {meta.embedding_size}; leave it null"
        )
    network = build_backbone(meta.spec, embedding_size=meta.embedding_size)
    load_state(folder, network)
    return network


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # clone: safetensors refuses tensors that share memory (tied weights)
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _load_flat_state(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

"""Checkpoints: a folder of safetensors and readable JSON, whole or absent.

model.safetensors      weights and buffers of the network; of a frozen one none, as a copy of its file lies beside it
optimizer.safetensors  optimiser state, one tensor per `PARAMETER.NAME` (absent in a starting network)
loss.safetensors       weights of a loss that has any
ema.safetensors        averaged weights and buffers, where they are asked for: what the network is used with
running.safetensors    running identity means, where they are gathered
meta.json              network spec, step, fingerprints, settings, parent

Several processes save one checkpoint: process 0 writes, the others send it their shards. Nothing in it says
how many they were, so any number of processes continues from it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..mining.artifacts import whole_folder
from ..mining.errors import InputError
from . import distributed
from .checkpoint_meta import CheckpointMeta, read_meta
from .data.preprocess_config import PreprocessConfig
from .networks.backbone import Backbone
from .networks.building import build_backbone
from .networks.frozen import FrozenNetwork
from .networks.registry import CHECKPOINT_PREFIX, check_network, kept_as, spec_in
from .running_means import RunningMeans
from .training_state import TrainingState
from .user_functions import PYTHON_PREFIX

SPARSE = ".sparse"
"""Ends the name of a tensor that is sparse in memory, such as momentum of sparse gradients; files hold it dense."""


def save_checkpoint(folder: Path, state: TrainingState | Backbone, meta: CheckpointMeta) -> None:
    """Write a whole checkpoint folder or none: of a training, or of a network alone. Called by all processes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from subspace.train import CheckpointMeta, build_backbone, save_checkpoint
        >>> network = build_backbone("small", embedding_size=8, seed=0)
        >>> folder = Path(tempfile.mkdtemp(), "checkpoint")
        >>> save_checkpoint(folder, network, CheckpointMeta("small", embedding_size=8, step=0, fingerprint="mine"))
        >>> sorted(path.name for path in folder.iterdir())
        ['meta.json', 'model.safetensors']
    """
    if isinstance(state, Backbone):
        files = {"model": _tensors(state)}
    else:
        files = {"model": _tensors(state.network), "optimizer": _flat_state(state.optimizer)}
        distributed.same_as_first(state.loss)
        if loss := _tensors(state.loss):
            files["loss"] = loss
        if state.ema is not None:
            files["ema"] = _tensors(state.ema.module)
        if state.running is not None:
            files["running"] = {"vector": state.running.vector}
        if state.scaler is not None:
            meta = replace(meta, scaler=state.scaler.state_dict())
    if distributed.rank():
        return
    with whole_folder(folder) as aside:
        for name, tensors in files.items():
            save_file(tensors, aside / f"{name}.safetensors")
        network = state if isinstance(state, Backbone) else state.network
        if isinstance(network.body, FrozenNetwork):
            (aside / kept_as(network.spec)).write_bytes(network.body.contents)
        meta = replace(meta, input=network.input.to_json())
        (aside / "meta.json").write_text(
            json.dumps(asdict(meta), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def load_state(folder: Path, state: TrainingState | Backbone) -> CheckpointMeta:
    """Load a checkpoint into a network of the same shape, or into everything that a training changes.

    Averaged weights begin at the loaded ones where the checkpoint has none.

    Raises:
        InputError: a file is missing or damaged, or the shapes differ.
    """
    meta = read_meta(folder)
    try:
        if isinstance(state, Backbone):
            state.load_state_dict(load_file(folder / "model.safetensors"))
            return meta
        state.network.load_state_dict(load_file(folder / "model.safetensors"))
        _load_flat_state(state.optimizer, load_file(folder / "optimizer.safetensors"))
        if own := state.loss.state_dict(keep_vars=True):
            saved = load_file(folder / "loss.safetensors")
            state.loss.load_state_dict(
                {
                    name: _own_rows(tensor, own[name]) if name in own else tensor
                    for name, tensor in saved.items()
                }
            )
        if state.ema is not None:
            averaged = folder / "ema.safetensors"
            state.ema.module.load_state_dict(
                load_file(averaged if averaged.exists() else folder / "model.safetensors")
            )
        if state.scaler is not None and meta.scaler:
            state.scaler.load_state_dict(meta.scaler)
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise _unreadable(folder, error) from error
    return meta


def load_running(folder: Path, running: RunningMeans) -> None:
    """Load the running means of a checkpoint into those of a training.

    Raises:
        InputError: it has none, or the file is damaged.
    """
    running.vector.copy_(load_running_means(folder).vector)


def _unreadable(folder: Path, error: Exception) -> InputError:
    return InputError(f"cannot load checkpoint {folder}: {' '.join(str(error).split())[:300]}")


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


def load_network(
    spec: str,
    *,
    embedding_size: int | None = None,
    seed: int = 0,
    preprocess: PreprocessConfig | None = None,
    weights: str | None = None,
    allow_code: bool = False,
) -> Backbone:
    """The network that `spec` names: built by `build_backbone`, or opened from `checkpoint:DIR`, averaged weights if any.

    `preprocess` lies over what the network, or its checkpoint, says of its images. `weights` is for networks that are
    built. A checkpoint of a `python:` network imports a module that it names: `allow_code` says that it may.

    Raises:
        InputError: unknown spec, no such checkpoint, another embedding size than the checkpoint has, or a checkpoint that
            may not import.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from subspace.train import CheckpointMeta, build_backbone, load_network, save_checkpoint
        >>> network = build_backbone("small", embedding_size=8, seed=0)
        >>> folder = Path(tempfile.mkdtemp(), "checkpoint")
        >>> save_checkpoint(folder, network, CheckpointMeta("small", embedding_size=8, step=0, fingerprint="mine"))
        >>> opened = load_network(f"checkpoint:{folder}")
        >>> opened.spec, opened.embedding_size, opened.body.fc.weight.equal(network.body.fc.weight)
        ('small', 8, True)
    """
    if not spec.startswith(CHECKPOINT_PREFIX):
        return build_backbone(
            spec, embedding_size=embedding_size, seed=seed, preprocess=preprocess, weights=weights
        )
    check_network(spec, weights)
    folder = Path(spec.removeprefix(CHECKPOINT_PREFIX))
    meta = read_meta(folder)
    if meta.spec.startswith(PYTHON_PREFIX) and not allow_code:
        raise InputError(
            f"{folder} was made by {meta.spec}, code that is imported from where you are or from your packages; "
            "look at it, then allow it: --allow-code, or allow_code=true for a run"
        )
    if embedding_size not in (None, meta.embedding_size):
        raise InputError(
            f"embedding_size={embedding_size}, but {folder} has {meta.embedding_size}; leave it null"
        )
    try:
        own = PreprocessConfig.model_validate(meta.input)
    except ValidationError as error:
        raise InputError(f"{folder}/meta.json has an input that describes no images: {meta.input}") from error
    over = (preprocess or PreprocessConfig()).given
    network = build_backbone(
        spec_in(folder, meta.spec), embedding_size=meta.embedding_size, preprocess=own.model_copy(update=over)
    )
    network.spec, network.remarks = meta.spec, ()
    averaged = folder / "ema.safetensors"
    try:
        network.load_state_dict(load_file(averaged if averaged.exists() else folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise _unreadable(folder, error) from error
    return network


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers on the CPU, shards put together."""
    return {name: _on_cpu(tensor, tensor) for name, tensor in module.state_dict(keep_vars=True).items()}


def _on_cpu(tensor: Tensor, like: Tensor) -> Tensor:
    """A dense copy, whole where `like` is a shard (and meaningless then in all processes but 0)."""
    tensor = tensor.to_dense() if tensor.is_sparse else tensor
    if distributed.is_shard(like):
        tensor = distributed.whole_shard(tensor, like)
    # clone: safetensors refuses tensors that share memory (tied weights)
    return tensor.detach().cpu().contiguous().clone()


def _own_rows(whole: Tensor, like: Tensor) -> Tensor:
    return whole[distributed.shard_rows(like)] if distributed.is_shard(like) else whole


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """In the order that numbers them in the optimiser's state."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    parameters = _parameters(optimizer)
    return {
        f"{index}.{name}{SPARSE if value.is_sparse else ''}": _on_cpu(
            value, parameters[index] if value.ndim else value
        )
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _load_flat_state(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        own = _own_rows(value, parameters[int(index)]) if value.ndim else value
        if name.endswith(SPARSE):
            name, own = name.removesuffix(SPARSE), own.to_sparse(1)
        state.setdefault(int(index), {})[name] = own
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

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

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..mining.artifacts import unwritable, whole_folder
from ..mining.errors import DamagedFileError, InputError
from ..mining.fingerprints import sha256_of
from ..mining.json_documents import damaged_file
from . import distributed
from .checkpoint_meta import META, CheckpointMeta, read_meta
from .data.preprocess_config import PreprocessConfig
from .networks.backbone import Backbone
from .networks.building import build_backbone
from .networks.frozen import FrozenNetwork
from .networks.registry import CHECKPOINT_PREFIX, check_network, kept_as, spec_in
from .networks.user_modules import warn_of_changed_code
from .running_means import RunningMeans
from .training_state import TrainingState, flat_state, load_flat_state, on_cpu, own_rows
from .user_functions import PYTHON_PREFIX

UNREADABLE = (OSError, SafetensorError, RuntimeError, KeyError, IndexError, TypeError, ValueError)
"""What damaged tensors raise: on reading, or where they are put to use."""
SAMPLED_BYTES = 2**26
"""What is written to see how fast a disk is: a fifth of a second on one of 320 MB/s."""


def save_checkpoint(folder: Path | str, state: TrainingState | Backbone, meta: CheckpointMeta) -> None:
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
    folder = Path(folder)
    if isinstance(state, Backbone):
        files = {"model": _tensors(state)}
    else:
        files = {"model": _tensors(state.network), "optimizer": flat_state(state.optimizer)}
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
            _save(tensors, aside / f"{name}.safetensors", folder)
        network = state if isinstance(state, Backbone) else state.network
        if isinstance(network.body, FrozenNetwork):
            (aside / kept_as(network.spec)).write_bytes(network.body.contents)
        digests = {path.name: sha256_of(path) for path in sorted(aside.iterdir())}
        meta = replace(meta, input=network.input.to_json(), files=digests, code=network.code)
        (aside / META).write_text(meta.to_json(), encoding="utf-8")


def saving_seconds(folder: Path, state: float) -> float:
    """Seconds in which a checkpoint of `state` bytes is written into a folder, as a small unnamed file there tells.

    0 where such a checkpoint is no larger than that file, or where nothing can be written.
    """
    if state <= SAMPLED_BYTES:
        return 0.0
    sample = bytes(SAMPLED_BYTES)
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        file.write(sample)
        file.flush()
        os.fsync(file.fileno())
        hashlib.sha256(sample)
        return (time.perf_counter() - began) * state / SAMPLED_BYTES
    return 0.0


def load_state(folder: Path, state: TrainingState | Backbone) -> CheckpointMeta:
    """Load a checkpoint into a network of the same shape, or into everything that a training changes.

    Averaged weights begin at the loaded ones where the checkpoint has none.

    Raises:
        InputError: there is no checkpoint.
        DamagedFileError: a file of it is missing or damaged, or the shapes differ.
    """
    meta = read_meta(folder)
    warn_of_changed_code(state if isinstance(state, Backbone) else state.network, meta.code, folder)
    try:
        if isinstance(state, Backbone):
            _load_into(state, _load(folder / "model.safetensors", state))
            return meta
        _load_into(state.network, _load(folder / "model.safetensors", state.network))
        load_flat_state(state.optimizer, _load(folder / "optimizer.safetensors"))
        if own := state.loss.state_dict(keep_vars=True):
            saved = _load(folder / "loss.safetensors", state.loss)
            rows = {name: own_rows(each, own[name]) if name in own else each for name, each in saved.items()}
            _load_into(state.loss, rows)
        if state.ema is not None:
            averaged = folder / "ema.safetensors"
            file = averaged if averaged.exists() else folder / "model.safetensors"
            _load_into(state.ema.module, _load(file, state.ema.module))
        if state.scaler is not None and meta.scaler:
            state.scaler.load_state_dict(meta.scaler)
    except UNREADABLE as error:
        raise _unreadable(folder, error) from error
    return meta


def load_running(folder: Path, running: RunningMeans) -> None:
    """Load the running means of a checkpoint into those of a training.

    Raises:
        InputError: it has none.
        DamagedFileError: the file is damaged, or has other identities.
    """
    found, own = load_running_means(folder).vector, running.vector
    if found.shape != own.shape:
        why = f"its means are {list(found.shape)}, not {list(own.shape)}"
        raise damaged_file(running_means_file(folder), why)
    own.copy_(found)


def _unreadable(folder: Path, error: Exception) -> DamagedFileError:
    why = " ".join(str(error).split())[:300]
    return DamagedFileError(f"cannot load checkpoint {folder}: {why}", str(folder))


def _save(tensors: dict[str, Tensor], path: Path, folder: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # what it says has the system's words, such as No space left on device
        _, _, why = str(error).rpartition("I/O error: ")
        raise unwritable(folder, OSError(" ".join(why.split()))) from error


def _load(path: Path, module: nn.Module | None = None) -> dict[str, Tensor]:
    """The tensors of a file, which is as meta.json beside it has it; raises one of `UNREADABLE`.

    All are finite but those of a `module` that is built so, such as an attention mask.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    written = read_meta(path.parent).files.get(path.name)  # None: a checkpoint from before they were kept
    if written is not None and sha256_of(path) != written:
        raise ValueError(f"{path.name} is not as it was written: its checksum differs")
    tensors, built = load_file(path), {} if module is None else module.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            if name in built and torch.equal(built[name].to(tensor), tensor):
                continue
            raise ValueError(f"{name} of {path.name} holds NaN or infinity")
    return tensors


def _load_into(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load all tensors of a module; raises one of `UNREADABLE` where names, shapes or types are others."""
    own = module.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        if name in own and tensor.dtype != own[name].dtype:  # torch would convert it without a word
            raise ValueError(f"{name} is {tensor.dtype}, not {own[name].dtype}")
    module.load_state_dict(tensors)


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
        InputError: it has none.
        DamagedFileError: the file is damaged.
    """
    path = running_means_file(folder)
    try:
        vector = _load(path)["vector"]
        if vector.ndim != 2 or vector.dtype != torch.float32:
            raise ValueError(f"its means are {vector.dtype} {list(vector.shape)}")
        return RunningMeans(vector)
    except UNREADABLE as error:
        raise damaged_file(path, " ".join(str(error).split())[:300]) from error


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
        DamagedFileError: the checkpoint is damaged.

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
            "look at it, then allow it: --allow-code (allow_code=True in Python; allow_code=true where a run begins with it)"
        )
    if embedding_size not in (None, meta.embedding_size):
        raise InputError(
            f"embedding_size={embedding_size}, but {folder} has {meta.embedding_size}; leave it null"
        )
    try:
        own = PreprocessConfig.model_validate(meta.input)
    except ValidationError as error:
        raise damaged_file(folder / META, f"its input describes no images: {meta.input}") from error
    over = (preprocess or PreprocessConfig()).given
    if over.get("resize", own.resize) != "crop":  # with which alone the checkpoint's own crop counts
        over = {"crop": None, **over}
    network = build_backbone(
        spec_in(folder, meta.spec), embedding_size=meta.embedding_size, preprocess=own.model_copy(update=over)
    )
    network.spec, network.remarks = meta.spec, ()
    warn_of_changed_code(network, meta.code, folder)
    averaged = folder / "ema.safetensors"
    try:
        file = averaged if averaged.exists() else folder / "model.safetensors"
        _load_into(network, _load(file, network))
    except UNREADABLE as error:
        if "size" in over and "size mismatch" in str(error):
            why = f"{folder} has weights for {own.size} alone; leave it out"
            raise InputError(f"preprocess.size={over['size']}: {why}") from error
        raise _unreadable(folder, error) from error
    return network


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers on the CPU, shards put together."""
    return {name: on_cpu(tensor, tensor) for name, tensor in module.state_dict(keep_vars=True).items()}

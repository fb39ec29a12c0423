"""Networks as programs of torch: `torchscript:FILE` and `exported:FILE.pt2` (torch.export). Frozen.

Neither file runs Python: TorchScript and exported programs have operators alone, and what torch would unpickle beside
them is refused.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...mining.errors import InputError
from ...mining.json_documents import parse_json
from ..data.preprocess_config import PreprocessConfig
from .backbone import Backbone
from .frozen import DESCRIPTION, FrozenNetwork, Signature, frozen_backbone, one_line, read_bytes

PICKLED = ("custom_obj_", "opaque_obj_")
"""How the names of objects begin that torch.export unpickles."""


class ScriptNetwork(FrozenNetwork):
    """A TorchScript module."""

    def __init__(self, contents: bytes, module: torch.jit.ScriptModule, signature: Signature) -> None:
        super().__init__(contents, signature, sum(p.numel() for p in module.parameters()))
        self._on: dict[str, Callable[[Tensor], Any]] = {"cpu": module}

    def run(self, images: Tensor) -> Tensor:
        return _tensor(_on_device(self._on, images.device, self._opened)(images))

    def _opened(self, device: torch.device) -> Callable[[Tensor], Any]:
        return _script(self.contents)[0].to(device)


class ExportedNetwork(FrozenNetwork):
    """A program of torch.export."""

    def __init__(self, contents: bytes, program: torch.export.ExportedProgram, signature: Signature) -> None:
        super().__init__(contents, signature, sum(p.numel() for p in program.parameters()))
        self._on: dict[str, Callable[[Tensor], Any]] = {"cpu": program.module()}

    def run(self, images: Tensor) -> Tensor:
        return _tensor(_on_device(self._on, images.device, self._opened)(images))

    def _opened(self, device: torch.device) -> Callable[[Tensor], Any]:
        from torch.export.passes import move_to_device_pass

        return move_to_device_pass(_program(self.contents)[0], device).module()


def build_script_network(file: str, *, embedding_size: int | None, preprocess: PreprocessConfig) -> Backbone:
    """The network in a TorchScript file.

    The file names no shapes: without a description of `subspace export`'s kind it is taken for float32 images.

    Raises:
        InputError: no such file, damaged, or not a network from images to embeddings.
    """
    path = Path(file)
    contents = read_bytes(path)
    with _readable(path, "TorchScript"):
        module, said = _script(contents)
    takes = Signature(torch.uint8 if said.get("preprocessing") == "inside" else torch.float32, None)
    return frozen_backbone(
        ScriptNetwork(contents, module, takes), path, said, prefix="torchscript:",
        embedding_size=embedding_size, preprocess=preprocess,
    )  # fmt: skip


def build_exported_network(
    file: str, *, embedding_size: int | None, preprocess: PreprocessConfig
) -> Backbone:
    """The network in a .pt2 file of `torch.export.save`.

    Raises:
        InputError: no such file, damaged, or not a network from images to embeddings.
    """
    path = Path(file)
    contents = read_bytes(path)
    with _readable(path, "torch.export"):
        program, said = _program(contents)
    return frozen_backbone(
        ExportedNetwork(contents, program, _signature(program, path)), path, said, prefix="exported:",
        embedding_size=embedding_size, preprocess=preprocess,
    )  # fmt: skip


def _script(contents: bytes) -> tuple[torch.jit.ScriptModule, dict[str, str]]:
    extra: dict[str, Any] = {DESCRIPTION: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(contents), map_location="cpu", _extra_files=extra)
    return module.eval(), _said(extra[DESCRIPTION])


def _program(contents: bytes) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        pickled = [name for name in archive.namelist() if name.rpartition("/")[2].startswith(PICKLED)]
    if pickled:
        raise ValueError(f"it holds {pickled[0]}, a Python object, and nothing of a file is run here")
    extra: dict[str, Any] = {DESCRIPTION: ""}
    with _only_tensors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(io.BytesIO(contents), extra_files=extra)
    return program, _said(extra[DESCRIPTION])


def _said(description: str | bytes) -> dict[str, str]:
    said = parse_json(description or "{}")
    return said if isinstance(said, dict) else {}


@contextmanager
def _only_tensors() -> Iterator[None]:
    """`torch.load(weights_only=False)`, which torch.export calls for some tensors, loads tensors alone."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _readable(path: Path, format: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever torch's readers raise for a file that is not theirs
        raise InputError(f"{path} is not a readable {format} file: {one_line(error)}") from error


def _signature(program: torch.export.ExportedProgram, path: Path) -> Signature:
    names = program.graph_signature.user_inputs
    values = [
        node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names
    ]
    if len(values) != 1 or values[0].ndim != 4 or values[0].shape[1] != 3:
        shapes = ", ".join(str(list(getattr(value, "shape", ["?"]))) for value in values)
        raise InputError(f"{path} takes {shapes}, not images [B, 3, H, W]")
    batch, _, height, width = values[0].shape
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return Signature(values[0].dtype, size, batch if isinstance(batch, int) else None)


def _on_device(
    opened: dict[str, Callable[[Tensor], Any]],
    device: torch.device,
    open_on: Callable[[torch.device], Callable[[Tensor], Any]],
) -> Callable[[Tensor], Any]:
    if str(device) not in opened:
        opened[str(device)] = open_on(device)
    return opened[str(device)]


def _tensor(out: Any) -> Tensor:
    """The one output."""
    if isinstance(out, (tuple, list)) and len(out) == 1:
        out = out[0]
    if not isinstance(out, Tensor):
        raise ValueError(f"it gives a {type(out).__name__}, not one tensor")
    return out

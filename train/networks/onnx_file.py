"""Networks in ONNX: `onnx:FILE`, run by onnxruntime on the CPU or on a GPU. Frozen.

Size, layout, number type and batch are read from the graph. Inputs that the graph holds itself or never reads, which
quantisers and old exporters leave listed, are no inputs. External data comes into the one file that a checkpoint keeps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...mining.errors import InputError, SubspaceWarning
from ..data.preprocess_config import PreprocessConfig
from .backbone import Backbone
from .frozen import FrozenNetwork, Signature, frozen_backbone, one_line
from .registry import path_and_part

if TYPE_CHECKING:
    import onnx
    import onnxruntime

LARGEST = 2**31 - 1
"""Bytes of one ONNX file, with its weights."""
DTYPES = {1: torch.float32, 2: torch.uint8, 10: torch.float16}
"""Types that images can have, by the number that ONNX gives them."""


class OnnxNetwork(FrozenNetwork):
    """A graph in onnxruntime. A session is opened for each device that images come on."""

    def __init__(self, model: onnx.ModelProto, signature: Signature) -> None:
        weights = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
        super().__init__(model.SerializeToString(), signature, weights)
        self.input_name = model.graph.input[0].name
        operators = {node.op_type for node in model.graph.node}
        self._weights_alone_are_quantised = (
            "DequantizeLinear" in operators and "QuantizeLinear" not in operators
        )
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, images: Tensor) -> Tensor:
        session = self._session(images.device)
        (out,) = session.run(None, {self.input_name: images.cpu().numpy()})
        return torch.from_numpy(out).to(images.device)

    def _session(self, device: torch.device) -> onnxruntime.InferenceSession:
        import onnxruntime

        key = str(device)
        if key not in self._sessions:
            providers: list[Any] = ["CPUExecutionProvider"]
            if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
                providers = [("CUDAExecutionProvider", {"device_id": device.index or 0}), *providers]
            elif device.type != "cpu":
                warnings.warn(
                    f"onnxruntime works on the CPU here, not on {device}: onnxruntime-gpu has CUDA",
                    SubspaceWarning,
                    stacklevel=2,
                )
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = torch.get_num_threads()
            if (
                self._weights_alone_are_quantised
            ):  # unpacked once, not at every batch: SFace in 2/3 of the time
                options.add_session_config_entry("session.disable_quant_qdq", "1")
            self._sessions[key] = onnxruntime.InferenceSession(self.contents, options, providers=providers)
        return self._sessions[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without sessions, which no other process can use."""
        return {**self.__dict__, "_sessions": {}}


def build_onnx_network(file: str, *, embedding_size: int | None, preprocess: PreprocessConfig) -> Backbone:
    """The network in an ONNX file; FILE#OUTPUT chooses one of several outputs.

    Raises:
        InputError: packages are missing, the file is damaged, or not a network from images to embeddings.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(f"onnx: {error.name} is missing: pip install 'subspace-mining[onnx]'") from error
    name, part = path_and_part(file)
    path = Path(name)
    if not path.is_file():
        raise InputError(f"onnx:{name}: no such file")
    try:
        model = onnx.load(path)
    except (
        Exception
    ) as error:  # protobuf, and missing or misplaced external data, each have kinds of their own
        raise InputError(f"{path} is not a readable ONNX file: {one_line(error)}") from error
    if model.ByteSize() > LARGEST:
        raise InputError(
            f"{path} has {model.ByteSize():,} bytes with its weights, more than the 2 GiB of one ONNX file"
        )
    own = {tensor.name for tensor in model.graph.initializer}
    own |= {output for node in model.graph.node for output in node.output}
    used = set(_used(model.graph))
    inputs = [value for value in model.graph.input if value.name in used and value.name not in own]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InputError(f"{path} takes {len(inputs)} inputs ({names}), and images are one")
    signature = _signature(inputs[0], path)
    _keep_output(model, path, part)
    try:
        body = OnnxNetwork(model, signature)
        body._session(torch.device("cpu"))
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise InputError(f"onnxruntime refuses {path}: {one_line(error)}") from error
    said = {entry.key: entry.value for entry in model.metadata_props}
    return frozen_backbone(
        body, path, said, prefix="onnx:", embedding_size=embedding_size, preprocess=preprocess
    )


def _used(graph: onnx.GraphProto) -> Iterator[str]:
    """What the nodes read, those of branches and loops too."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _used(attribute.g)


def _signature(value: onnx.ValueInfoProto, path: Path) -> Signature:
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    dtype = DTYPES.get(tensor.elem_type)
    if len(dims) != 4 or (dims[1] == 3) == (dims[3] == 3) or dtype is None:
        raise InputError(
            f"{path}: its input {value.name} has shape {dims}; images are [B, 3, H, W] or [B, H, W, 3] of "
            "float32, float16 or uint8"
        )
    first = dims[1] == 3
    height, width = dims[2:] if first else dims[1:3]
    size = None if height is None or width is None else (height, width)
    return Signature(dtype, size, dims[0] or None, "BCHW" if first else "BHWC")


def _keep_output(model: onnx.ModelProto, path: Path, part: str) -> None:
    """Drop all outputs but the embedding: the one called `part`, or the only one with one vector an image."""
    outputs = list(model.graph.output)
    names = ", ".join(value.name for value in outputs)
    kept = [value for value in outputs if value.name == part] if part else outputs
    if part and not kept:
        raise InputError(f"{path} has no output {part}; it has {names}")
    if len(kept) > 1:
        kept = [value for value in outputs if len(value.type.tensor_type.shape.dim) == 2]
    if len(kept) != 1:
        raise InputError(
            f"{path} has outputs {names}; name the one with the embedding, {path}#{outputs[0].name}"
        )
    del model.graph.output[:]
    model.graph.output.extend(kept)


def onnx_multiply_adds(contents: bytes) -> int | None:
    """Multiply-adds of convolutions and matrix products for one image; None where shapes are not known."""
    import onnx

    model = onnx.load_from_string(contents)
    images = model.graph.input[0].type.tensor_type.shape.dim[0]
    images.dim_value = images.dim_value or 1
    del model.graph.value_info[:]  # shapes of any number of images, with names for numbers
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.output, *graph.input):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        out, weight = shapes.get(node.output[0], []), shapes.get(node.input[1], [])
        if not out or not weight or 0 in (*out, *weight):
            return None
        flipped = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        sums = math.prod(weight[1:]) if node.op_type == "Conv" else weight[-1] if flipped else weight[-2]
        total += math.prod(out) * sums
    return total // images.dim_value

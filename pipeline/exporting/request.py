"""What `subspace export` is asked for; without torch, so that a wrong option is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from ...mining.errors import InputError

Preprocessing = Literal["inside", "outside"]
Quantization = Literal["int8"]

FILES: dict[str, str] = {"onnx": "model.onnx", "safetensors": "model.safetensors", "torch": "model.pt2"}
"""The file of each format."""
INT8_FILE = "model.int8.onnx"
CARD = "model.md"
WEIGHTS_BESIDE = f"{FILES['onnx']}.data"
"""Where the weights of an ONNX network lie that is too large for one file."""

OLDEST_OPSET = 18
"""The first that torch's exporter writes; onnxruntime has it since 1.14."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportRequest:
    """What is to be written.

    Raises:
        InputError: options that do not go together, or packages that are missing.

    Example:
        >>> ExportRequest(("onnx", "torch")).files
        ('model.onnx', 'model.pt2', 'model.md')
    """

    formats: tuple[str, ...]
    """Keys of `FILES`."""
    preprocessing: Preprocessing = "inside"
    """inside: uint8 RGB images are normalised by the file; outside: it takes normalised float32 images."""
    opset: int = OLDEST_OPSET
    quantize: Quantization | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.formats if name not in FILES]:
            raise InputError(f"--to {unknown[0]}: give {', '.join(FILES)}")
        if self.opset < OLDEST_OPSET:
            raise InputError(f"--opset {self.opset}: torch writes {OLDEST_OPSET} and later")
        if self.quantize and "onnx" not in self.formats:
            raise InputError(f"--quantize {self.quantize} makes an ONNX file; add --to onnx")
        if "onnx" in self.formats and any(find_spec(name) is None for name in ONNX_PACKAGES):
            raise InputError("ONNX is missing: pip install 'subspace-mining[onnx]'")

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are written."""
        int8 = (INT8_FILE,) if self.quantize == "int8" else ()
        return (*(FILES[name] for name in self.formats), *int8, CARD)

"""An ONNX file: made from a traced program, written, and run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...mining.errors import InputError
from ...mining.fingerprints import CODE_VERSION
from ...train.data.image_input import ImageInput
from .agreement import Embedder
from .description import INPUT, OUTPUT
from .request import WEIGHTS_BESIDE
from .traced_program import first_line, quiet

if TYPE_CHECKING:
    import onnx

LARGEST_FILE = 1_900_000_000
"""Bytes of weights in one file; ONNX files end at 2 GiB."""


def onnx_model(
    program: torch.export.ExportedProgram, opset: int, description: dict[str, str]
) -> onnx.ModelProto:
    """The program in ONNX's operators, with `description` as its metadata.

    Raises:
        InputError: an operator that ONNX, or the opset, does not have.
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise InputError(f"--opset {opset}: the installed onnx {onnx.__version__} knows up to {newest}")
    with quiet():
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except Exception as error:  # the exporter has many kinds
            raise InputError(
                f"torch cannot write this network as ONNX: {first_line(error)}; try another --opset, or --to torch"
            ) from error
    if exported is None:
        raise InputError(
            f"torch {torch.__version__} has no ONNX exporter of this kind; it needs 2.6 or later"
        )
    model = exported.model_proto
    written = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if written != opset:
        raise InputError(f"--opset {opset}: torch could only write {written} for this network; give that one")
    model.producer_name, model.producer_version = "subspace-mining", CODE_VERSION
    describe(model, description)
    for node in model.graph.node:
        node.ClearField("metadata_props")  # the exporter's notes on where it comes from
        node.doc_string = ""
    return model


def describe(model: onnx.ModelProto, description: dict[str, str]) -> None:
    """Put `description` in the place of the model's metadata."""
    import onnx

    onnx.helper.set_model_props(model, description)


def write_onnx(path: Path, model: onnx.ModelProto, largest: int = LARGEST_FILE) -> None:
    """Write the model; weights of more than `largest` bytes go into a file beside it, `model.onnx.data`."""
    import onnx

    beside = sum(len(weights.raw_data) for weights in model.graph.initializer) > largest
    onnx.save_model(
        model, str(path), save_as_external_data=beside, location=WEIGHTS_BESIDE if beside else None
    )


def run_onnx(path: Path, normalize: ImageInput | None) -> Embedder:
    """onnxruntime on the CPU.

    Args:
        normalize: where preprocessing lies outside the file; None where it takes uint8.

    Raises:
        InputError: onnxruntime refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} refuses {path.name}: {first_line(error)}; try another --opset"
        ) from error

    def embed(images_BCHW: np.ndarray) -> np.ndarray:
        if normalize is not None:
            images_BCHW = normalize.normalize(torch.from_numpy(images_BCHW)).numpy()
        return np.asarray(session.run([OUTPUT], {INPUT: images_BCHW})[0])

    return embed

"""A torch.export program in a .pt2 file, which torch runs without this package.

Not TorchScript: torch has deprecated it, and its tracer fixes branches without saying so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from ...train.data.image_input import ImageInput
from .agreement import Embedder
from .traced_program import quiet

DESCRIPTION = "description.json"
"""The file within the .pt2 that says what it is; `extra_files` of torch.export.load."""


def write_program(path: Path, program: torch.export.ExportedProgram, description: dict[str, str]) -> None:
    """Write the program, its weights and `description`; no clock times, so equal programs give equal bytes."""
    with quiet():
        torch.export.save(program, path, extra_files={DESCRIPTION: json.dumps(description)})


def run_program(path: Path, normalize: ImageInput | None) -> Embedder:
    """Read the file again, and run it.

    Args:
        normalize: where preprocessing lies outside the file; None where it takes uint8.
    """
    with quiet():
        module = torch.export.load(path).module()

    def embed(images_BCHW: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(images_BCHW)
        with torch.inference_mode():
            return module(images if normalize is None else normalize.normalize(images)).numpy()

    return embed

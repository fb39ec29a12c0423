"""The weights alone, as safetensors: names of the network itself, and in the header what they are.

Names are those of the network's own module (`layer1.0.conv1.weight`), as published weights have them, so that
`safetensors.torch.load_file` gives a state dict for it.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save

from ...train.data.preprocess_config import PreprocessConfig
from ...train.networks.backbone import Backbone
from ...train.networks.building import build_backbone
from .agreement import Embedder, embed_with_torch


def write_weights(path: Path, network: Backbone, description: dict[str, str]) -> None:
    """Write parameters and buffers of the network; equal weights give equal bytes."""
    tensors = {
        # clone: safetensors refuses tensors that share memory (tied weights)
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.body.state_dict().items()
    }
    path.write_bytes(_sorted_header(save(tensors, {**description, "format": "pt"})))


def run_weights(path: Path, network: Backbone) -> Embedder:
    """A new network of the same spec with the weights of the file."""
    preprocess = PreprocessConfig.model_validate(network.input.to_json())
    again = build_backbone(network.spec, embedding_size=network.embedding_size, preprocess=preprocess)
    again.body.load_state_dict(load_file(path))
    return lambda images: embed_with_torch(again, images)


def _sorted_header(file: bytes) -> bytes:
    """The same file with the metadata in order: the library writes them in any."""
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + file[8 + size :]

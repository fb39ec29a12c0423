"""What every exported file says of itself, as strings by key: ONNX metadata, safetensors header, file in a .pt2."""

from __future__ import annotations

import json

from ...mining.fingerprints import CREATED_BY
from ...train.checkpoint_meta import CheckpointMeta
from ...train.networks.backbone import Backbone

INPUT, OUTPUT = "images", "embedding"
"""Names of what goes in and what comes out."""


def description_of(network: Backbone, meta: CheckpointMeta, preprocessing: str) -> dict[str, str]:
    """Keys in sorted order; `input` is JSON, as in a checkpoint's meta.json.

    No clock times and no paths: equal checkpoints give equal files.

    Args:
        preprocessing: inside, outside, or none where a file holds weights alone.
    """
    return {
        "embedding_size": str(network.embedding_size),
        "fingerprint": meta.fingerprint,
        "input": json.dumps(network.input.to_json()),
        "preprocessing": preprocessing,
        "producer": CREATED_BY,
        "spec": network.spec,
        "step": str(meta.step),
    }

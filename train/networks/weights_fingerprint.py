"""A network by its content: a fingerprint of its weights and of what its images become, wherever it came from."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from ...mining.fingerprints import fingerprint_of
from .backbone import Backbone
from .frozen import FrozenNetwork
from .registry import file_of


def network_fingerprint(network: Backbone) -> str:
    """32 hex digits that are equal for networks of equal weights, buffers and preprocessing; a second a GB.

    Embeddings of two fingerprints are not comparable. Of a frozen network the file's bytes count.

    Example:
        >>> from subspace.train import build_backbone
        >>> one, other = (network_fingerprint(build_backbone("small", seed=seed)) for seed in (0, 1))
        >>> len(one), one == other
        (32, False)
    """
    # of a file the content counts, not its name
    spec = network.spec.partition(":")[0] if file_of(network.spec) is not None else network.spec
    content = hashlib.blake2b(digest_size=16)
    if isinstance(network.body, FrozenNetwork):
        content.update(network.body.contents)
    for name, tensor in sorted(network.state_dict().items()):
        if isinstance(tensor, Tensor):
            content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            content.update(_bytes(tensor))
    return fingerprint_of(
        {
            "spec": spec,
            "embedding_size": network.embedding_size,
            "input": network.input.to_json(),
            "content": content.hexdigest(),
        }
    )


def _bytes(tensor: Tensor) -> memoryview:

    # As bytes, since NumPy has no bfloat16.
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data

"""A frozen network leaves as the file that it came in."""

from __future__ import annotations

import pytest
from exported_networks import linear_network

from subspace.mining import InputError
from subspace.pipeline.exporting.frozen_file import check_frozen, frozen_contents
from subspace.pipeline.exporting.request import ExportRequest
from subspace.train import ImageInput


def test_a_frozen_network_can_only_be_copied() -> None:
    network = linear_network(ImageInput(4))
    assert frozen_contents(network) is None
    network.body.contents = b"graph"  # pyright: ignore[reportAttributeAccessIssue]
    assert frozen_contents(network) == b"graph"
    network.spec = "onnx:faces.onnx"
    check_frozen(network, ExportRequest(("onnx",)))
    with pytest.raises(
        InputError, match=r"onnx:faces\.onnx is frozen and can only be copied; export it --to onnx"
    ):
        check_frozen(network, ExportRequest(("safetensors",)))
    with pytest.raises(InputError, match="can only be copied"):
        check_frozen(network, ExportRequest(("onnx",), quantize="int8"))
    network.spec = "exported:faces.pt2"
    check_frozen(network, ExportRequest(("torch",)))
    network.spec = "torchscript:faces.pt"
    with pytest.raises(InputError, match=r"none of onnx, safetensors, torch has its format"):
        check_frozen(network, ExportRequest(("torch",)))

"""A network by its spec: size, preprocessing, weights, multiply-adds, embedding."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ...train.networks.registry import NETWORKS, kind_of
from .summary import Summary

if TYPE_CHECKING:
    import torch


def names_network(text: str) -> bool:
    """Whether this is a spec, as `--model` takes it, or nearly one, rather than a path."""
    return text in NETWORKS or kind_of(text) is not None or bool(get_close_matches(text, NETWORKS, 1, 0.8))


def summarize_network(spec: str, overrides: Sequence[str] = ()) -> Summary:
    """Build or open a network, and say what it takes, costs and gives.

    Args:
        overrides: settings of a run, such as `embedding_size=256` or `preprocess.size=160`.

    Raises:
        InputError: the spec names nothing, or what it names cannot be used.
    """
    import torch

    from ...train.checkpoint import load_network
    from ..configuration.config_file import parse_config
    from ..new_run.network_facts import examine_network

    config = parse_config({"manifest": "", "model": spec}, overrides, "subspace inspect")
    network = load_network(
        spec,
        embedding_size=config.embedding_size,
        preprocess=config.preprocess,
        weights=config.weights,
        allow_code=config.allow_code,
    )
    found = examine_network(network, config)
    image = torch.zeros((1, 3, network.input.height, network.input.width))
    cost = multiply_adds(network.body, image)
    summary = Summary(
        spec, "network", title="network" if network.spec == spec else f"network, {network.spec}"
    )
    summary.facts["spec"], summary.facts["input"] = network.spec, found.input
    summary.show("input", words=found.input_in_words)
    summary.add("weights", found.weights)
    summary.facts["multiply_adds"], summary.facts["flops"] = cost, cost and 2 * cost
    if cost is not None:
        summary.show(
            "multiply-adds", f"{cost:,}", "an image, in convolutions and products; papers call them FLOPs"
        )
    summary.add("embedding_size", network.embedding_size, "embedding size", "numbers")
    summary.facts["remarks"] = found.remarks
    summary.show_list("remarks", found.remarks)
    return summary


def multiply_adds(body: torch.nn.Module, image: torch.Tensor) -> int | None:
    """Multiply-adds of convolutions and matrix products for one image; None where they cannot be counted."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from ...train.networks.frozen import FrozenNetwork
    from ...train.networks.onnx_file import OnnxNetwork, onnx_multiply_adds

    if isinstance(body, OnnxNetwork):
        return onnx_multiply_adds(body.contents)
    # The plain backend makes the products of attention in the open; the fused ones are not counted.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        body.eval()(image)
    images = (body.signature.batch or 1) if isinstance(body, FrozenNetwork) else 1
    return counted.get_total_flops() // (2 * images) or None  # torch counts a multiplication and an addition

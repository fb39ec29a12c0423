"""What a training will take, said before it begins."""

from __future__ import annotations

from ...train.devices import pick_device
from ...train.embedder import forward_rate
from ...train.networks.backbone import Backbone
from ...train.training_config import LoaderConfig
from ..console import amount
from ..options import Options


def training_estimate(
    network: Backbone, loader: LoaderConfig, steps: int, batch: int, options: Options
) -> str:
    """Steps, time and disk; forward and backward take three times the forward pass that is timed here."""
    rate = forward_rate(network, pick_device(options.device), loader.precision) / 3
    weights = sum(parameter.numel() for parameter in network.parameters()) * 4
    return (
        f"{steps:,} steps of up to {batch:,} images, about {max(1, steps * batch / rate):,.0f} s, "
        f"{amount(4 * weights)} of weights, gradients and optimiser state, {amount(9 * weights)} of disk"
    )

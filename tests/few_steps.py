"""A few steps of training on one batch: six identities, each a picture of its own with noise."""

from __future__ import annotations

import torch
from torch.nn import functional

from subspace.train.losses.pair_losses import MultiSimilarityLoss
from subspace.train.networks.backbone import Backbone


def losses_of(network: Backbone, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """The loss at each step, before it."""
    generator = torch.Generator().manual_seed(0)
    height, width = network.input.height, network.input.width
    ids = torch.arange(6).repeat_interleave(2)
    pictures = functional.interpolate(torch.rand(6, 3, 8, 8, generator=generator), (height, width))[ids]
    noise = torch.rand(pictures.shape, generator=generator)
    images = ((0.8 * pictures + 0.2 * noise) * 255).to(torch.uint8)
    loss, losses = MultiSimilarityLoss(), []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(network(images), ids)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses

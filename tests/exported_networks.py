"""Networks to export, and checkpoints of them outside any run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from subspace.train import Backbone, CheckpointMeta, ImageInput, save_checkpoint


def random_images(count: int, input: ImageInput, seed: int = 0) -> np.ndarray:
    """uint8 RGB [B, 3, H, W]."""
    shape = (count, 3, input.height, input.width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(folder: Path, network: Backbone) -> Path:
    """A checkpoint outside any run."""
    meta = CheckpointMeta(network.spec, network.embedding_size, step=3, fingerprint="made up")
    save_checkpoint(folder / "checkpoint", network, meta)
    return folder / "checkpoint"


def linear_network(input: ImageInput, spec: str = "linear") -> Backbone:
    """The smallest network there is, so that preprocessing is all that matters; drawn by a fixed seed."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * input.height * input.width, 5))
    drawn = np.random.default_rng(1).normal(size=(5, 3 * input.height * input.width))
    with torch.no_grad():
        body[1].weight.copy_(torch.from_numpy(drawn))  # pyright: ignore[reportArgumentType]
        body[1].bias.zero_()  # pyright: ignore[reportCallIssue]
    return Backbone(body, spec=spec, input=input, embedding_size=5)


class Transformer(nn.Module):
    """A small ViT (Dosovitskiy et al., ICLR 2021) of torch's own layers, class token and position embeddings included."""

    input_size, embedding_size = 32, 24

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.places = nn.Parameter(torch.randn(1, 17, 24))
        layer = nn.TransformerEncoderLayer(24, 4, 48, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        patches_BPD = self.patches(images_BCHW).flatten(2).transpose(1, 2)
        tokens_BPD = torch.cat((self.token.expand(images_BCHW.shape[0], -1, -1), patches_BPD), 1)
        return self.layers(tokens_BPD + self.places)[:, 0]


class Branching(nn.Module):
    """Takes another way for bright images, which no traced program can."""

    input_size, embedding_size = 4, 48

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1) if images_BCHW.mean() > 0 else -images_BCHW.flatten(1)


class Counting(nn.Module):
    """Makes a number of the count of images."""

    input_size, embedding_size = 4, 48

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.reshape(len(images_BCHW), -1)


def counting() -> nn.Module:
    """For `python:exported_networks:counting`."""
    return Counting()


def transformer() -> nn.Module:
    """For `python:exported_networks:transformer`."""
    return Transformer()


def branching() -> nn.Module:
    """For `python:exported_networks:branching`."""
    return Branching()

"""What every network is here: uint8 images in, unit vectors out.

B batch, C channels (3: red, green, blue), H height, W width, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from ...mining.errors import InputError
from ..data.image_input import ImageInput

DRAWN = "; its weights are drawn"
"""Ends the remark on a layer that was added, until a file gives its weights."""


class Backbone(nn.Module):
    """Images [B, 3, H, W] -> float32 embeddings [B, D] of unit length.

    uint8 images are normalised here, on their device, so that a quarter of the bytes travels there;
    floating-point images are taken as normalised already. `body` holds the weights; loading published
    ones means `backbone.body.load_state_dict(...)`.

    Example:
        >>> import torch
        >>> from subspace.train import Backbone, ImageInput
        >>> body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 5))
        >>> network = Backbone(body, spec="mine", input=ImageInput(4), embedding_size=5)
        >>> embeddings = network(torch.full((2, 3, 4, 4), 200, dtype=torch.uint8))
        >>> embeddings.shape
        torch.Size([2, 5])
        >>> embeddings.norm(dim=1).allclose(torch.ones(2))
        True
    """

    def __init__(
        self, body: nn.Module, *, spec: str, input: ImageInput, embedding_size: int, published: str = ""
    ) -> None:
        """`published` is the part of the body that files of weights name, where it is not all of it."""
        super().__init__()
        self.body = body
        self._published = published
        self.remarks: tuple[str, ...] = ()
        """What is to be said of how it came about: layers added, weights loaded."""
        self.code = ""
        """SHA-256 of the file with the function that built it, where that is the user's own."""
        self.spec = spec
        self.input = input
        self.embedding_size = embedding_size

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return at_unit_length(self.features(images_BCHW))

    def features(self, images_BCHW: Tensor) -> Tensor:
        """What becomes the embeddings once it has unit length: float32[B, D]."""
        expected = (3, *self.input.height_and_width)
        if images_BCHW.ndim != 4 or tuple(images_BCHW.shape[1:]) != expected:
            raise InputError(
                f"{self.spec} takes images of shape [B, {', '.join(map(str, expected))}], "
                f"got {list(images_BCHW.shape)}; resize them to {self.input.height} × {self.input.width} px"
            )
        if not images_BCHW.is_floating_point():
            images_BCHW = self.input.normalize(images_BCHW)
        # float32 even under autocast: bfloat16 has 8 bits, and lengths would be off by 0.4 %.
        return self.body(images_BCHW).float()

    @property
    def published(self) -> nn.Module:
        """The module whose names files of weights have."""
        return self.body.get_submodule(self._published)

    def extra_repr(self) -> str:
        return f"spec={self.spec!r}, input={self.input}, embedding_size={self.embedding_size}"


def at_unit_length(features_BD: Tensor) -> Tensor:
    """The rows at unit length."""
    # eps bounds the gradient of an all-zero embedding, which a dead network produces.
    return functional.normalize(features_BD, dim=1, eps=1e-6)


def check_embedding(network: Backbone) -> None:
    """Nothing, where an image of the network's own size comes out as one embedding; the network is put in evaluation mode.

    Raises:
        InputError: it does not.
    """
    shape, D = list(_embedding_of_black(network).shape), network.embedding_size
    if shape != [1, D]:
        raise InputError(
            f"{network.spec} makes {shape} of one image, not [1, {D}]; let it end in a layer that gives "
            f"embedding_size={D} numbers an image"
        )


def fill_lazy_layers(network: Backbone) -> None:
    """Give lazy layers, such as `nn.LazyLinear`, the sizes that an image of the network's own size needs, and their weights.

    Until then a file of weights has nothing to compare with, and no seed counts. A network without such layers stays as it is.

    Raises:
        InputError: the network cannot embed such an image.
    """
    if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        training = network.training
        _embedding_of_black(network)
        network.train(training)


def _embedding_of_black(network: Backbone) -> Tensor:
    """What the network, put in evaluation mode, makes of one black image."""
    height, width = network.input.height_and_width
    network.eval()
    try:
        with torch.no_grad():
            return network(torch.zeros((1, 3, height, width), dtype=torch.uint8))
    except (RuntimeError, ValueError, IndexError) as error:  # what torch raises for shapes that do not fit
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{network.spec} cannot embed an image of {height} × {width} px: {reason}"
        ) from error

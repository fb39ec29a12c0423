"""Image sizes that a network with a fixed stride can take."""

from __future__ import annotations

from ...mining.errors import InputError


def multiples_of(stride: int, input_size: int | tuple[int, int], network: str) -> tuple[int, int]:
    """Height and width again, where both are multiples of the network's stride.

    Raises:
        InputError: one is not.
    """
    height, width = input_size if isinstance(input_size, tuple) else (input_size, input_size)
    if height % stride or width % stride or not height or not width:
        near = [max(stride, round(side / stride) * stride) for side in (height, width)]
        raise InputError(
            f"preprocess.size={[height, width]}: {network} takes multiples of {stride} px; "
            f"{near} is the nearest"
        )
    return height, width

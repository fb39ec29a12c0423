"""Batches whose images are changed at random on the training's device, once, before the network sees them.

Shapes: b images, H and W pixels.

Mirroring and shifting copy bytes, so loader processes do them (`data.augmentation`). The rest is arithmetic, and is done on
the device, after the copy: what is usual takes a CPU 400 microseconds for an image of 112 pixels, more than decoding it, where
a GPU has some hundred launches for a whole batch, and loader processes are left to decode. Without a GPU, network and
loaders share the cores, and it costs them the same in either place.

All is drawn on the host, a function of (seed, step, place in the batch), and sent to the device without waiting. A batch
is changed before it is cut into chunks, so both passes of a chunked training see the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..mining.device_copies import to_device
from ..mining.errors import InputError
from ..mining.randomness import generator
from .data import pixel_changes
from .data.batches import DecodedBatches, ImageBatch
from .data.drawn_changes import DrawnChanges, Some, draw_changes
from .data.settings import AugmentConfig
from .devices import fp32_products
from .user_functions import blamed, find_function

VALUES_AT_ONCE = {"cpu": 2**19, "cuda": 2**26}
"""Pixel values that are floats at the same time: what stays in a cache, and what bounds memory (a few times 256 MB)."""


def augment_batches(
    batches: Iterator[ImageBatch], dataset: DecodedBatches, device: torch.device
) -> Iterator[ImageBatch]:
    """Yield the batches with their images changed on `device`, or as they are where nothing is to change.

    Functions of the user's (`functions`) are called with uint8[b, 3, H, W] on the device and a list of b generators of
    NumPy, each a function of (seed, step, place), and return images of the same shape and type.

    Args:
        dataset: whose batches they are; it knows the settings and the seed.

    Raises:
        InputError: kornia is missing, no such function of the user's, or it returns something else than images.
        OwnCodeError: a function of the user's raised an error.

    Example:
        >>> import io
        >>> from pathlib import Path
        >>> import pyarrow as pa
        >>> from PIL import Image
        >>> from subspace.mining import Manifest
        >>> from subspace.train import DecodedBatches, ImageChunks, ImageStore, load_batches
        >>> Image.new("RGB", (8, 8), "white").save(png := io.BytesIO(), "PNG")
        >>> rows = {"image": [png.getvalue()] * 3, "uri": [""] * 3, "offset": [None] * 3, "length": [None] * 3}
        >>> store = ImageStore(Manifest(Path("white.parquet"), pa.table(rows), fingerprint="0"))
        >>> chunks = ImageChunks(np.arange(3), size=3)
        >>> dataset = DecodedBatches(store, chunks, 8, augment=AugmentConfig(erase=1))
        >>> loaded = load_batches(dataset, range(1), num_workers=0)
        >>> next(augment_batches(loaded, dataset, torch.device("cpu"))).images.unique()
        tensor([128, 255], dtype=torch.uint8)
    """
    if dataset.augment is None or not dataset.augment.on_device:
        return batches
    return _changed(batches, dataset, device)


def _changed(
    batches: Iterator[ImageBatch], dataset: DecodedBatches, device: torch.device
) -> Iterator[ImageBatch]:
    change = ImageChanges(dataset.augment or AugmentConfig(), dataset.seed, device)
    for batch in batches:
        yield change(batch)


class ImageChanges:
    """The changes that `config` asks for, called with a batch: the same batch with other images.

    Raises:
        InputError: kornia is missing, or there is no such function of the user's.
        OwnCodeError: its module raised an error.
    """

    def __init__(self, config: AugmentConfig, seed: tuple[int, ...], device: torch.device) -> None:
        self._config, self._seed, self._device = config, seed, device
        self._functions = [(spec, _found(spec)) for spec in config.functions]
        for setting in ("hue", "blur"):
            if getattr(config, setting):
                pixel_changes.kornia_for(setting)

    @torch.no_grad()
    def __call__(self, batch: ImageBatch) -> ImageBatch:
        places, planned = places_of(batch)
        if len(places) == 0:
            return batch
        drawn = draw_changes(self._config, self._seed, batch.step, places, planned)
        with fp32_products("ieee"):
            images = change_pixels(batch.images.to(self._device, non_blocking=True), drawn)
        for number, (spec, function) in enumerate(self._functions):
            purpose = (*self._seed, "augment", batch.step, "function", number)
            with blamed(spec):
                made = function(images, [generator(*purpose, int(place)) for place in places])
            images = _same_kind(spec, made, images)
        return replace(batch, images=images)


def _found(spec: str) -> Callable[..., object]:
    with blamed(spec):
        return find_function(spec)


def places_of(batch: ImageBatch) -> tuple[np.ndarray, int]:
    """Places of its images in the planned batch, int64[b], and how many images that has."""
    planned = len(batch.image_id) + len(batch.bad) if batch.share is None else len(batch.share.planned)
    return np.arange(len(batch.image_id)) if batch.places is None else batch.places, planned


def change_pixels(images: Tensor, drawn: DrawnChanges) -> Tensor:
    """Change uint8[b, 3, H, W] images by what is drawn for them, in the order of the fields of `DrawnChanges`.

    Example:
        >>> drawn = DrawnChanges(grey=Some(np.array([1]), np.zeros(1)))
        >>> change_pixels(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).repeat(2, 1, 1, 1), drawn)[:, :, 0, 0]
        tensor([[255,   0,   0],
                [ 76,  76,  76]], dtype=torch.uint8)
    """
    changes = _changes(drawn, images.device)
    if not changes:
        return images
    at_once = max(1, VALUES_AT_ONCE.get(images.device.type, 2**24) // images[0].numel())
    changed = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    for start in range(0, len(images), at_once):
        piece = slice(start, start + at_once)
        pixels = images[piece].to(torch.float32, memory_format=torch.contiguous_format)
        for change in changes:
            pixels = change(pixels, piece)
        changed[piece] = pixels
    return changed


def _changes(drawn: DrawnChanges, device: torch.device) -> list[Callable[[Tensor, slice], Tensor]]:
    """The changes that are drawn, each called with the pixels of a piece and where it lies in the batch."""

    def all_of(
        change: Callable[[Tensor, Tensor], Tensor], values: np.ndarray
    ) -> Callable[[Tensor, slice], Tensor]:
        there = to_device(torch.from_numpy(values), device)
        return lambda pixels, piece: change(pixels, there[piece])

    def some_of(change: Callable[[Tensor, Tensor], Tensor], some: Some) -> Callable[[Tensor, slice], Tensor]:
        rows, values = (to_device(torch.from_numpy(array), device) for array in (some.rows, some.values))

        def changed(pixels: Tensor, piece: slice) -> Tensor:
            first, end = (int(at) for at in np.searchsorted(some.rows, [piece.start, piece.stop]))
            if first == end:
                return pixels
            own = rows[first:end] - piece.start
            return pixels.index_copy_(0, own, change(pixels.index_select(0, own), values[first:end]))

        return changed

    each = (
        (pixel_changes.crop_and_resize, drawn.crop),
        (pixel_changes.brighten, drawn.brightness),
        (pixel_changes.change_contrast, drawn.contrast),
        (pixel_changes.saturate, drawn.saturation),
        (pixel_changes.turn_hue, drawn.hue),
    )
    a_few = (
        (lambda pixels, _: pixel_changes.grey(pixels), drawn.grey),
        (pixel_changes.blur, drawn.blur),
        (pixel_changes.low_resolution, drawn.low_resolution),
        (pixel_changes.erase, drawn.erase),
    )
    return [
        *(all_of(change, values) for change, values in each if values is not None),
        *(some_of(change, some) for change, some in a_few if some is not None and len(some.rows)),
    ]


def _same_kind(spec: str, made: object, images: Tensor) -> Tensor:
    if isinstance(made, Tensor) and (made.shape, made.dtype, made.device) == (
        images.shape,
        images.dtype,
        images.device,
    ):
        return made
    what = (
        f"{made.dtype} {list(made.shape)} on {made.device}"
        if isinstance(made, Tensor)
        else type(made).__name__
    )
    raise InputError(
        f"{spec} returned {what}; return images as they came: {images.dtype} {list(images.shape)} on {images.device}"
    )

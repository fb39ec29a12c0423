"""Batches of images, decoded by worker processes.

Shapes: P identities in a batch, K images of each, b images decoded, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...mining.errors import InputError
from ...mining.randomness import generator
from ..distributed import share
from .augmentation import augmented
from .image_input import ImageInput
from .images import BadImage, ImageStore
from .loader_processes import PATIENCE, LoaderProcesses, Patience
from .pinned_ahead import pin_batches
from .plan_reader import each_once
from .settings import AugmentConfig
from .shares import BatchShare


@dataclass(frozen=True)
class ImageChunks:
    """Image ids in batches of equal size, called by number; a class, since workers may be sent a copy of it.

    Example:
        >>> import numpy as np
        >>> from subspace.train import ImageChunks
        >>> chunks = ImageChunks(np.array([3, 5, 8]), size=2)
        >>> len(chunks), chunks(0).tolist(), chunks(1).tolist()
        (2, [3, 5], [8])
    """

    image_id: np.ndarray
    """int64[n]."""
    size: int

    def __len__(self) -> int:
        return -(-len(self.image_id) // self.size)

    def __call__(self, number: int) -> np.ndarray:
        return self.image_id[number * self.size : (number + 1) * self.size]


@dataclass(frozen=True)
class ImageBatch:
    """Images decoded for one step; unreadable ones are missing and listed in `bad`.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from subspace.train import ImageBatch
        >>> images = torch.zeros((2, 3, 32, 32), dtype=torch.uint8)
        >>> ImageBatch(step=0, image_id=np.array([5, 6]), images=images, bad=[]).images.shape
        torch.Size([2, 3, 32, 32])
    """

    step: int
    image_id: np.ndarray
    """int64[b]."""
    images: Tensor
    """uint8[b, 3, S, S]; in memory the channels come last, as decoders give them."""
    bad: list[BadImage]
    share: BatchShare | None = None
    """Where these images stand in the whole batch; None: they are the whole."""
    places: np.ndarray | None = None
    """int64[b], place of each image in the whole batch, unreadable ones counted; None: they are the whole, and readable."""

    def pin_memory(self) -> ImageBatch:
        """The same with its images in pinned memory."""
        return replace(self, images=self.images.pin_memory())


class DecodedBatches(Dataset[ImageBatch | InputError]):
    """Batch by number: reads and decodes the images that `image_ids_of(step)` names.

    An image that stands in a batch twice is decoded once, so an identity with a single image has no
    positive pair and serves as a negative only; with `keep_repeats` every copy is augmented by itself.

    Args:
        input: what images are fitted to; an int stretches them to so many pixels a side.
        augment: its `flip` and `shift` are done here, the rest by `train.augmented_batches`, with the same seed.
        process: (number, of how many) processes that share every batch; this one decodes its `share`.

    Example:
        >>> import io
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> from PIL import Image
        >>> from subspace.mining import Manifest
        >>> from subspace.train import DecodedBatches, ImageChunks, ImageStore
        >>> Image.new("RGB", (8, 8), "red").save(png := io.BytesIO(), "PNG")
        >>> rows = {"image": [png.getvalue()] * 3, "uri": [""] * 3, "offset": [None] * 3, "length": [None] * 3}
        >>> store = ImageStore(Manifest(Path("red.parquet"), pa.table(rows), fingerprint="0"))
        >>> batches = DecodedBatches(store, ImageChunks(np.arange(3), size=2), 4)
        >>> batches[1].image_id.tolist(), batches[1].images.shape
        ([2], torch.Size([1, 3, 4, 4]))
    """

    def __init__(
        self,
        store: ImageStore,
        image_ids_of: Callable[[int], np.ndarray],
        input: int | ImageInput,
        *,
        augment: AugmentConfig | None = None,
        seed: tuple[int, ...] = (0,),
        keep_repeats: bool = False,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.store, self.image_ids_of, self.process = store, image_ids_of, process
        self.input = ImageInput.of(input)
        self.augment = augment if augment and augment.active else None
        self.seed, self.keep_repeats = seed, keep_repeats

    def __getitem__(self, index: int) -> ImageBatch | InputError:
        """The batch, or the user's error as a value: raised in a worker process it would gain a traceback."""
        return self.decode(index, fresh_memory)

    def decode(self, index: int, memory_of: Callable[[tuple[int, ...]], Tensor]) -> ImageBatch | InputError:
        """The same, decoded into what `memory_of` gives for a shape: uint8[b, H, W, 3]."""
        try:
            return self._decode(index, memory_of)
        except InputError as error:
            return error

    def _decode(self, index: int, memory_of: Callable[[tuple[int, ...]], Tensor]) -> ImageBatch:
        planned = self.image_ids_of(index)
        if not self.keep_repeats:
            planned = each_once(planned)
        own = share(len(planned), *self.process)
        memory = memory_of((own.stop - own.start, self.input.height, self.input.width, 3))
        pixels = memory.numpy()
        bad = self.store.decode_into(pixels, planned[own], self.input)
        readable = np.ones(len(pixels), bool)
        readable[list(bad)] = False
        if bad:
            pixels[: readable.sum()] = pixels[readable]
            memory, pixels = memory[: readable.sum()], pixels[: readable.sum()]
        places = np.arange(own.start, own.stop)[readable]
        if self.augment and self.augment.while_loading:
            random = generator(*self.seed, "augment", index)
            augmented(pixels, self.augment, random, places, len(planned))
        part = BatchShare(planned, own.start, readable) if self.process[1] > 1 else None
        images = memory.permute(0, 3, 1, 2)
        unreadable = [bad[place] for place in sorted(bad)]
        return ImageBatch(index, planned[own][readable], images, unreadable, part, places)


def load_batches(
    dataset: DecodedBatches,
    numbers: Sequence[int],
    num_workers: int,
    *,
    pin: bool = False,
    patience: Patience = PATIENCE,
) -> Iterator[ImageBatch]:
    """Yield the batches of `numbers` in order, decoded ahead by `num_workers` processes (0: in this one).

    The batches do not depend on the number of workers.

    Args:
        pin: put images into pinned memory, from which a GPU copies by itself; asks for CUDA.
        patience: with those processes, and whether they are waited for at all.

    Raises:
        InputError: what reading them met that is the user's, such as a URI of a kind that is not supported.
        ImagesStayedAway: one of the processes died or fell silent.

    Example:
        >>> import io
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> from PIL import Image
        >>> from subspace.mining import Manifest
        >>> from subspace.train import DecodedBatches, ImageChunks, ImageStore, load_batches
        >>> Image.new("RGB", (8, 8), "red").save(png := io.BytesIO(), "PNG")
        >>> rows = {"image": [png.getvalue()] * 3, "uri": [""] * 3, "offset": [None] * 3, "length": [None] * 3}
        >>> store = ImageStore(Manifest(Path("red.parquet"), pa.table(rows), fingerprint="0"))
        >>> chunks = ImageChunks(np.arange(3), size=2)
        >>> batches = load_batches(DecodedBatches(store, chunks, 4), range(len(chunks)), num_workers=0)
        >>> [batch.image_id.tolist() for batch in batches]
        [[0, 1], [2]]
    """
    if not num_workers:
        for number in numbers:
            batch = dataset[number]
            if isinstance(batch, InputError):
                raise batch
            yield batch.pin_memory() if pin else batch
        return
    processes = LoaderProcesses(dataset, numbers, num_workers, patience)
    try:
        yield from pin_batches(processes) if pin else processes.batches(Tensor.clone)
    finally:
        processes.close()


def fresh_memory(shape: tuple[int, ...]) -> Tensor:
    """Room for a batch."""
    return torch.empty(shape, dtype=torch.uint8)

"""Batches of a plan, read from Parquet by step, decoded by worker processes.

Shapes: P identities in a batch, K images of each, b images decoded, S pixels a side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ...mining.errors import InputError
from ...mining.parquet_tables import fingerprint_in, open_parquet, read_row_group
from ...mining.randomness import generator
from ...mining.schemas import PLAN
from ...mining.settings import Settings
from ..distributed import share
from .images import BadImage, ImageStore
from .shares import BatchShare


class Plan:
    """A plan folder, read one row group at a time: `plan[step]` is the image ids of that batch, int64[P·K].

    Memory: one row group, however many identities or steps there are.

    Raises:
        InputError: no plan there, or a damaged one.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.parts = sorted(self.folder.glob("*.parquet"))
        if not self.parts:
            raise InputError(f"{self.folder} holds no plan; run `subspace plan` first")
        self.fingerprint = fingerprint_in(self.parts[0], PLAN)
        groups = [
            (part, group, metadata.row_group(group).num_rows)
            for part, metadata in enumerate(open_parquet(path, PLAN).metadata for path in self.parts)
            for group in range(metadata.num_row_groups)
        ]
        self._groups = [(part, group) for part, group, _ in groups]
        self._first_step = np.cumsum([0] + [rows for _, _, rows in groups])
        self._open = (-1, np.empty((0, 0), np.int32), np.empty((0, 0), np.int64))

    def __len__(self) -> int:
        return int(self._first_step[-1])

    def __getitem__(self, step: int) -> np.ndarray:
        return self._row(step)[1]

    def identities_of(self, step: int, image_ids: np.ndarray) -> np.ndarray:
        """The identity of each of some images of that batch, int32[b], in any order; no manifest is needed for it."""
        identities, planned = self._row(step)
        order = np.argsort(planned, kind="stable")
        place = order[np.searchsorted(planned, image_ids, sorter=order)]
        return identities[place // (len(planned) // len(identities))]

    def _row(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Identities int32[P] and images int64[P·K] of a batch."""
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of a plan of {len(self)}")
        group = int(np.searchsorted(self._first_step, step, side="right")) - 1
        if self._open[0] != group:
            part, number = self._groups[group]
            table = read_row_group(self.parts[part], PLAN, number, ["identity_ids", "image_ids"])
            self._open = (group, _rows(table["identity_ids"]), _rows(table["image_ids"]))
        row = step - self._first_step[group]
        return self._open[1][row], self._open[2][row]


def _rows(lists: pa.ChunkedArray) -> np.ndarray:
    return lists.combine_chunks().flatten().to_numpy().reshape(len(lists), -1)


class PlanBatchSampler(Sampler[list[int]]):
    """The plan as a `batch_sampler` for anybody's `torch.utils.data.DataLoader`: yields lists of image ids.

    Args:
        plan: a folder written by `subspace plan`.
        start_step: first batch, to continue a training where it stopped.
        keep_repeats: an identity with fewer than K images has some of them several times in a batch; False
            yields each once, so that no image is its own positive.
    """

    def __init__(self, plan: Plan | Path | str, start_step: int = 0, *, keep_repeats: bool = False) -> None:
        self.plan = plan if isinstance(plan, Plan) else Plan(plan)
        self.start_step = start_step
        self.keep_repeats = keep_repeats

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, len(self.plan)):
            image_ids = self.plan[step]
            yield (image_ids if self.keep_repeats else _each_once(image_ids)).tolist()

    def __len__(self) -> int:
        return max(0, len(self.plan) - self.start_step)


@dataclass(frozen=True)
class ImageChunks:
    """Image ids in batches of equal size, called by number; a class, since workers may be sent a copy of it."""

    image_id: np.ndarray
    """int64[n]."""
    size: int

    def __len__(self) -> int:
        return -(-len(self.image_id) // self.size)

    def __call__(self, number: int) -> np.ndarray:
        return self.image_id[number * self.size : (number + 1) * self.size]


class AugmentConfig(Settings):
    """Random changes of training images, a function of (seed, step, place in the batch)."""

    flip: float = Field(
        default=0.0, ge=0, le=1, description="probability of mirroring left to right (faces: 0.5; text: 0)"
    )
    shift: int = Field(
        default=0, ge=0, description="largest random shift in pixels, each way, edges repeated"
    )

    @property
    def active(self) -> bool:
        """Whether anything changes at all."""
        return self.flip > 0 or self.shift > 0


@dataclass(frozen=True)
class ImageBatch:
    """Images decoded for one step; unreadable ones are missing and listed in `bad`."""

    step: int
    image_id: np.ndarray
    """int64[b]."""
    images: Tensor
    """uint8[b, 3, S, S]."""
    bad: list[BadImage]
    share: BatchShare | None = None
    """Where these images stand in the whole batch; None: they are the whole."""


class DecodedBatches(Dataset[ImageBatch | InputError]):
    """Batch by number: reads and decodes the images that `image_ids_of(step)` names.

    An image that stands in a batch twice is decoded once, so an identity with a single image has no
    positive pair and serves as a negative only; with `keep_repeats` every copy is augmented by itself.

    Args:
        process: (number, of how many) processes that share every batch; this one decodes its `share`.
    """

    def __init__(
        self,
        store: ImageStore,
        image_ids_of: Callable[[int], np.ndarray],
        size: int,
        *,
        augment: AugmentConfig | None = None,
        seed: tuple[int, ...] = (0,),
        keep_repeats: bool = False,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.store, self.image_ids_of, self.size, self.process = store, image_ids_of, size, process
        self.augment = augment if augment and augment.active else None
        self.seed, self.keep_repeats = seed, keep_repeats

    def __getitem__(self, index: int) -> ImageBatch | InputError:
        """The batch, or the user's error as a value: raised in a worker process it would gain a traceback."""
        try:
            return self._decode(index)
        except InputError as error:
            return error

    def _decode(self, index: int) -> ImageBatch:
        planned = self.image_ids_of(index)
        if not self.keep_repeats:
            planned = _each_once(planned)
        own = share(len(planned), *self.process)
        decoded = [self.store.decode(int(image_id), self.size) for image_id in planned[own]]
        good = [image for image in decoded if isinstance(image, np.ndarray)]
        bad = [image for image in decoded if isinstance(image, BadImage)]
        readable = np.fromiter((isinstance(image, np.ndarray) for image in decoded), bool, len(decoded))
        images = np.stack(good) if good else np.empty((0, 3, self.size, self.size), np.uint8)
        if self.augment:
            places = np.arange(own.start, own.stop)[readable]
            random = generator(*self.seed, "augment", index)
            images = _augmented(images, self.augment, random, places, len(planned))
        part = BatchShare(planned, own.start, readable) if self.process[1] > 1 else None
        return ImageBatch(index, planned[own][readable], torch.from_numpy(images), bad, part)


def _each_once(image_ids: np.ndarray) -> np.ndarray:
    """Without repeats, in the order of first appearance."""
    return image_ids[np.sort(np.unique(image_ids, return_index=True)[1])]


def _augmented(
    images: np.ndarray, config: AugmentConfig, random: np.random.Generator, places: np.ndarray, batch: int
) -> np.ndarray:
    """Change uint8[b, 3, S, S] images, each by what is drawn for its place in a batch of so many."""
    mirrored = (random.random(batch) < config.flip)[places]
    moves = random.integers(-config.shift, config.shift + 1, (batch, 2))[places]
    images[mirrored] = images[mirrored, :, :, ::-1]
    if config.shift:
        s, size = config.shift, images.shape[-1]
        padded = np.pad(images, ((0, 0), (0, 0), (s, s), (s, s)), mode="edge")
        for i, (down, right) in enumerate(moves + s):
            images[i] = padded[i, :, down : down + size, right : right + size]
    return images


def load_batches(dataset: DecodedBatches, numbers: Sequence[int], num_workers: int) -> Iterator[ImageBatch]:
    """Yield the batches of `numbers` in order, decoded ahead by `num_workers` processes (0: in this one).

    The batches do not depend on the number of workers.

    Raises:
        InputError: what reading them met that is the user's, such as a URI of a kind that is not supported.
    """
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=numbers,  # pyright: ignore[reportArgumentType]  # any sized iterable will do
        num_workers=num_workers,
        collate_fn=_as_is,  # pyright: ignore[reportArgumentType]  # not a list of samples: one whole batch
        worker_init_fn=_in_a_group_of_its_own,
        prefetch_factor=4 if num_workers else None,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _in_a_group_of_its_own(worker: int) -> None:
    """torchrun and terminals signal a process group: one that needs a batch to save itself would find its reader dead.

    The worker still ends by a signal to itself, which is how it is ended, and when its parent is gone.
    """
    os.setpgrp()


def _as_is(batch: ImageBatch) -> ImageBatch:
    return batch

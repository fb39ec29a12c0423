"""How long images take on this machine: short timings of a network, a loss and a decoder, for estimates.

On a CPU what counts is the processor time of the calling thread, since other work on the machine hardly lengthens that: an
estimate is for a quiet machine. Torch's threads spin while they wait for each other, and that counts. Where other work makes
them wait long, one thread alone is the faster, and its time is taken. On a GPU it is the clock.

Shapes: b images, B in a batch, S pixels a side, D numbers in an embedding.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..mining.errors import InputError, SubspaceWarning
from ..mining.machine import usable_cores
from .augmented_batches import ImageChanges
from .data.batches import ImageBatch
from .data.image_input import ImageInput
from .data.images import ImageStore
from .data.settings import AugmentConfig
from .devices import Arithmetic, autocast, settled
from .networks.backbone import Backbone
from .networks.layer_memory import embedding_bytes
from .training_config import PrecisionSetting, Workers
from .workers import loader_bytes, worker_count

ENOUGH_SECONDS = 0.1
"""A pass of so many seconds is long enough to be timed; smaller batches grow."""
LEAST_PASSES, MOST_PASSES = 3, 5
MOST_SECONDS = 0.4
"""Seconds of the clock, after which no more passes than the least are made. One pass that takes longer is enough."""
SAMPLED_IMAGES, WAITED_IMAGES, SET_UP = 64, 16, 4
"""Images that are decoded; that are read before, to see what a disk is waited for; and that are decoded before, untimed."""
SIDE_BY_SIDE = 16
"""Images of an extraction that stand side by side in what is decoded: it goes through all in order."""
START_SECONDS = 0.15
"""Until processes that decode have begun, and until they have ended."""


@dataclass(frozen=True)
class StepSpeed:
    """What a training step costs."""

    image: float
    """Seconds of an image through the network, forward and backward."""
    batch: float
    """Seconds of the loss over the whole batch, and of the update of all weights."""


class LoadedWork(NamedTuple):
    """Work of a device on images that loader processes decode ahead."""

    compute: float
    """Seconds of the device."""
    decode: float
    """Seconds of decoding, by one process."""
    num_workers: int
    device: torch.device
    memory: float = 0.0
    """Bytes of main memory that embedding takes beside its results: layers of a batch, and the loader's batches."""

    @property
    def seconds(self) -> float:
        """How long it takes."""
        compute, decode, workers = self.compute, self.decode, self.num_workers
        if workers == 0:
            return compute + decode
        threads = torch.get_num_threads() if self.device.type == "cpu" else 0
        shared = (compute * threads + decode) / usable_cores()
        return START_SECONDS + max(compute, decode / workers, shared)

    @property
    def slow_decoding(self) -> str:
        """What to say where a GPU waits for images; nothing on a CPU, whose cores do both."""
        keep_up = math.ceil(self.decode / self.compute) if self.compute else 0
        if self.device.type == "cpu" or keep_up <= max(1, self.num_workers):
            return ""
        return f" (images are decoded more slowly than {self.device} works: that wants {keep_up} loader processes, on as many cores)"


def forward_seconds(network: Backbone, device: torch.device, arithmetic: Arithmetic, batch: int) -> float:
    """Seconds of an image in evaluation, in batches of `batch` or of what takes long enough to be timed."""
    network.eval().to(device, memory_format=arithmetic.memory_format)  # pyright: ignore[reportCallIssue]

    def embed(images_BCHW: torch.Tensor) -> None:
        with torch.inference_mode(), autocast(device, arithmetic.precision):
            network(images_BCHW.contiguous(memory_format=arithmetic.memory_format))

    return _seconds_of_an_image(embed, network.input, device, batch)


def embedding_work(
    network: Backbone,
    store: ImageStore,
    image_id: np.ndarray,
    images: int,
    device: torch.device,
    precision: PrecisionSetting,
    *,
    batch_size: int,
    num_workers: Workers,
    flip: bool = False,
) -> LoadedWork:
    """What it takes to read, decode and embed so many images, of which some of `image_id` are decoded here.

    Args:
        flip: their mirror images are embedded, too.
    """
    passes = images * (1 + flip)
    compute = passes * forward_seconds(network, device, settled(device, precision), min(batch_size, images))
    decode = images * decode_seconds(store, image_id, network.input, SIDE_BY_SIDE)
    workers = worker_count(num_workers, device)
    layers = embedding_bytes(network) * (1 + flip) if device.type == "cpu" else 0
    memory = batch_size * (layers + 16 * network.embedding_size) + loader_bytes(
        workers, batch_size, network.input
    )
    return LoadedWork(compute, decode, workers, device, memory)


def step_speed(
    network: Backbone,
    loss: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    arithmetic: Arithmetic,
    labels: torch.Tensor,
    batch: int,
) -> StepSpeed:
    """Time steps of a training. Network, loss and optimiser change: give copies that nobody trains.

    Args:
        loss: None counts no loss.
        labels: int64[B] of the whole batch.
        batch: images that pass through the network at once, at most.
    """
    network.train().to(device, memory_format=arithmetic.memory_format)  # pyright: ignore[reportCallIssue]

    def both_ways(images_BCHW: torch.Tensor) -> None:
        with autocast(device, arithmetic.precision):
            embeddings_BD = network(images_BCHW.contiguous(memory_format=arithmetic.memory_format))
        embeddings_BD.backward(torch.ones_like(embeddings_BD))

    image = _seconds_of_an_image(both_ways, network.input, device, batch, least=2)
    labels, noise = labels.to(device), torch.Generator().manual_seed(0)
    vectors_BD = torch.randn((len(labels), network.embedding_size), generator=noise)
    vectors_BD = nn.functional.normalize(vectors_BD).to(device)
    if loss is not None:
        loss.train().to(device)

    def learn() -> None:
        if loss is not None:
            loss.zero_grad()  # gradients of rows would pile up; the network keeps those of the passes before
            loss(vectors_BD.clone().requires_grad_(), labels).backward()
        optimizer.step()

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", SubspaceWarning)  # the labels are made up, and may have no pairs
        learn()  # the first update makes the optimiser's state
        return StepSpeed(image, _seconds(learn, device))


def change_seconds(config: AugmentConfig, input: ImageInput, device: torch.device, batch: int) -> float:
    """Seconds in which an image is changed at random on the device, in batches of at most `batch`."""
    if not config.on_device:
        return 0.0
    change = ImageChanges(config, (0,), device)
    return _seconds_of_an_image(
        lambda images: change(ImageBatch(0, np.arange(len(images)), images, [])), input, device, batch
    )


def decode_seconds(
    store: ImageStore, image_id: np.ndarray, input: int | ImageInput, together: int = 1
) -> float:
    """Seconds to read and decode an image, on average over a batch of some of `image_id`; unreadable ones take none.

    The batch is read as a loader reads it. That a disk is waited for is seen by the clock, and by its median, as other work
    is not.

    Args:
        together: as many stand side by side in a batch, and so perhaps in a file: 1 where a batch is drawn from anywhere.
    """
    if not len(image_id):
        return 0.0
    places = np.linspace(0, max(0, len(image_id) - together), SAMPLED_IMAGES // together).astype(np.int64)
    some = image_id[np.unique((places[:, None] + np.arange(together)).clip(max=len(image_id) - 1))]
    input = ImageInput.of(input)
    pixels = np.empty((len(some), input.height, input.width, 3), np.uint8)
    waited: list[float] = []
    for image in some[:: max(1, len(some) // WAITED_IMAGES)]:
        clock, cpu = time.perf_counter(), time.thread_time()
        try:
            store.read(int(image))
        except Exception:  # damaged files raise nearly any type of error; the stage lists them
            continue
        waited.append(time.perf_counter() - clock - (time.thread_time() - cpu))
    if not waited:
        return 0.0
    try:
        store.decode_into(pixels, some[:SET_UP], input)
        cpu = time.thread_time()
        read = len(some) - len(store.decode_into(pixels, some, input))
    except InputError:  # the stage says it
        return 0.0
    return max(0.0, median(waited)) + (time.thread_time() - cpu) / read if read else 0.0


def _seconds_of_an_image(
    run: Callable[[torch.Tensor], object], input: ImageInput, device: torch.device, most: int, least: int = 1
) -> float:
    def of_batch(images: int) -> Callable[[], object]:
        batch_BCHW = torch.zeros((images, 3, input.height, input.width), dtype=torch.uint8, device=device)
        return lambda: run(batch_BCHW)

    def timed(images: int) -> float:
        pass_ = of_batch(images)
        if (
            _once(pass_, device) >= MOST_SECONDS
        ):  # the first pass of a shape sets up, which is little of a long one
            return _once(pass_, device)
        return _median(pass_, device)

    threads, images = _threads(device), least
    with torch.random.fork_rng(devices=[]), _with_threads(1, device):
        alone = timed(images)
        while images < most and alone < ENOUGH_SECONDS:
            images = min(most, images * 4)
            alone = timed(images)
    alone /= images
    if threads == 1:
        return alone
    images = min(most, images * threads)
    return min(alone, timed(images) / images)


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """Seconds of a run, by all threads or by one, whichever is less; a long run is timed once."""
    first = _once(run, device)
    if first >= MOST_SECONDS:
        return first
    together = _median(run, device)
    if _threads(device) == 1:
        return together
    with _with_threads(1, device):
        return min(together, _median(run, device))


def _median(run: Callable[[], object], device: torch.device) -> float:
    until, took = time.perf_counter() + MOST_SECONDS, [_once(run, device)]
    while len(took) < LEAST_PASSES or (len(took) < MOST_PASSES and time.perf_counter() < until):
        took.append(_once(run, device))
    return median(took)


def _once(run: Callable[[], object], device: torch.device) -> float:
    began = _clock(device)
    run()
    return _clock(device) - began


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.thread_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def _threads(device: torch.device) -> int:
    """Threads whose number matters."""
    return torch.get_num_threads() if device.type == "cpu" else 1


@contextmanager
def _with_threads(count: int, device: torch.device) -> Iterator[None]:
    """So many threads inside the block, on a CPU."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""What bench_loader.py measures: the images, four loaders on them, two networks in bare and whole loops."""

from __future__ import annotations

import io
import multiprocessing
import os
import statistics
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from subspace.mining import Manifest
from subspace.train import Backbone, ImageInput, build_backbone, embed
from subspace.train.data.batches import DecodedBatches, ImageBatch, ImageChunks, load_batches
from subspace.train.data.images import ImageStore
from subspace.train.loop import train_steps
from subspace.train.losses.pair_losses import MultiSimilarityLoss
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.running_means import RunningMeans
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import TrainingState

CPU = torch.device("cpu")
IMAGES, IDENTITIES, BATCH, SHARDS = 4096, 1024, 256, 2
LOADERS = (
    "subspace",
    "ImageFolder",
    *(name for name in ("datasets", "webdataset") if find_spec(name)),
)  # extra: dev
FILES = {(32, 32): "32 px", (112, 112): "112 px", (250, 112): "250 px to 112"}
NETWORKS = {"small": (32, 256, 30), "mobile": (112, 32, 5)}
"""Pixels, images in a batch, timed steps."""
SHOWN = 2
"""Times that every image is read by a loader."""


def write_images(folder: Path, pixels: int) -> None:
    """IMAGES JPEGs, each identity's in a folder of its own, and the same in tar shards."""
    for image_id, path in enumerate(paths_in(folder)):
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(image_id).integers(0, 256, (pixels // 6, pixels // 6, 3), np.uint8)
        Image.fromarray(noise).resize((pixels, pixels), Image.Resampling.BICUBIC).save(path, quality=90)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for path in paths_in(folder)[shard::SHARDS]:
                tar.add(path, path.name)


def paths_in(folder: Path) -> list[Path]:
    """Of all images, by number."""
    return [folder / f"{i * IDENTITIES // IMAGES:05d}" / f"{i:06d}.jpg" for i in range(IMAGES)]


def store_of(folder: Path) -> ImageStore:
    """The same for our loader."""
    uri = pa.array([str(path) for path in paths_in(folder)]).dictionary_encode()
    nothing = pa.nulls(IMAGES, pa.int64())
    table = pa.table({"uri": uri, "offset": nothing, "length": nothing})
    return ImageStore(Manifest(folder / "manifest.parquet", table, "benchmark"))


def order_of(times: int) -> np.ndarray:
    """Image ids in the order in which loaders are asked for them."""
    return np.concatenate([np.random.default_rng(turn).permutation(IMAGES) for turn in range(times)])


class ImageFolder(Dataset[torch.Tensor]):
    """What torchvision's ImageFolder and PILToTensor do."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with open(self.paths[index], "rb") as file:
            return to_tensor(Image.open(file).convert("RGB"), self.size)


def to_tensor(image: Image.Image, size: int) -> torch.Tensor:
    """uint8[3, size, size]."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def batches_of(loader: str, folder: Path, size: int, workers: int) -> Iterable[Any]:
    """Batches of BATCH images in uint8, as the users of a loader write it."""
    order, paths = order_of(SHOWN), paths_in(folder)
    if loader == "subspace":
        chunks = ImageChunks(order, BATCH)
        return load_batches(DecodedBatches(store_of(folder), chunks, size), range(len(chunks)), workers)
    if loader == "ImageFolder":
        return DataLoader(ImageFolder(paths, size), BATCH, sampler=order.tolist(), num_workers=workers)
    if loader == "datasets":
        import datasets

        table = datasets.Dataset.from_dict({"image": [str(path) for path in paths]})
        table = table.cast_column("image", datasets.Image(mode="RGB"))
        table = table.with_transform(
            lambda rows: {"image": [to_tensor(image, size) for image in rows["image"]]}
        )
        return DataLoader(table, BATCH, sampler=order.tolist(), num_workers=workers)  # pyright: ignore[reportArgumentType]
    import webdataset

    shards = [str(folder / f"{shard}.tar") for shard in range(SHARDS)] * SHOWN
    rows = (
        webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pilrgb").to_tuple("jpg")
    )
    return DataLoader(rows.map(lambda row: to_tensor(row[0], size)), BATCH, num_workers=workers)


def read_with(case: str, folder: Path, workers: int) -> dict[str, float]:
    """Images of a loader, by the clock and by processor time, from the first batch on."""
    loader, stored, size = case.split()
    batches = iter(batches_of(loader, folder / FILES[int(stored), int(size)], int(size), workers))
    next(batches)
    clock, busy, images = time.perf_counter(), processor_time(), 0
    for batch in batches:
        images += (
            len(batch.image_id)
            if isinstance(batch, ImageBatch)
            else len(batch["image"] if isinstance(batch, dict) else batch)
        )
        last = processor_time()  # while its processes are there
    return {"clock": (time.perf_counter() - clock) / images, "busy": (last - busy) / images}


def processor_time() -> float:
    """Seconds of this process and of its loader processes."""
    ticks = os.sysconf("SC_CLK_TCK")
    others = 0.0
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        others += (int(fields[11]) + int(fields[12])) / ticks
    return time.process_time() + others


def decode_alone(case: str, folder: Path, workers: int) -> dict[str, float]:
    """Processor time of the JPEG decoder alone, from bytes in memory to Pillow's image."""
    stored, size = map(int, case.split())
    data = [path.read_bytes() for path in paths_in(folder / FILES[stored, size])[:512]]
    began = time.process_time()
    for one in data:
        image = Image.open(io.BytesIO(one))
        image.draft("RGB", (size, size))
        image.load()
    return {"busy": (time.process_time() - began) / len(data)}


def network_called(name: str) -> Backbone:
    """The small network at 32 px, or one of a million weights, of depthwise convolutions as MobileFaceNet's, at 112 px."""
    if name == "small":
        return build_backbone("small", seed=0)
    torch.manual_seed(0)
    layers: list[nn.Module] = [*convolution(3, 64, 3, stride=2), *convolution(64, 64, 3, groups=64)]
    channels = 64
    for out, times, stride, expansion in (
        (64, 5, 2, 2),
        (128, 1, 2, 4),
        (128, 6, 1, 2),
        (128, 1, 2, 4),
        (128, 2, 1, 2),
    ):
        for number in range(times):
            layers.append(Bottleneck(channels, out, stride if number == 0 else 1, expansion))
            channels = out
    layers += [
        *convolution(128, 512, 1),
        *convolution(512, 512, 7, groups=512, padding=0),
        nn.Flatten(),
        nn.Linear(512, 128),
    ]
    return Backbone(nn.Sequential(*layers), spec="mobile", input=ImageInput(112), embedding_size=128)


def convolution(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, padding: int | None = None
) -> tuple[nn.Module, ...]:
    """With batch norm and PReLU."""
    padding = kernel // 2 if padding is None else padding
    return (
        nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(after),
        nn.PReLU(after),
    )


class Bottleneck(nn.Module):
    """Wide, depthwise, narrow, with a way around where shapes allow it."""

    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.layers = nn.Sequential(
            *convolution(before, wide, 1), *convolution(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.around = stride == 1 and before == after

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.layers(maps) if self.around else self.layers(maps)


def run_loop(case: str, folder: Path, workers: int) -> dict[str, float]:
    """Processor time of an image in a loop and in the bare one, which take steps in turn; no loader processes."""
    name, what = case.split()
    size, batch, steps = NETWORKS[name]
    files, bare_loop, whole_loop = folder / FILES[size, size], *LOOPS[what]
    bare = bare_loop(network_called(name), files, batch, steps + 3)
    whole = whole_loop(network_called(name), files, batch, steps + 3)
    seconds: dict[Iterator[None], list[float]] = {bare: [], whole: []}
    for step in range(steps + 3):
        for loop in (bare, whole) if step % 2 else (whole, bare):
            began = time.process_time()
            next(loop)
            seconds[loop].append(time.process_time() - began)
    pairs = zip(seconds[bare][3:], seconds[whole][3:], strict=True)
    return {
        "bare": statistics.median(seconds[bare][3:]) / batch,
        "whole": statistics.median(seconds[whole][3:]) / batch,
        "share": statistics.median(one / other for one, other in pairs),
    }


def resident(files: Path, network: Backbone, batch: int) -> torch.Tensor:
    return DecodedBatches(store_of(files), ImageChunks(order_of(1), batch), network.input)[
        0
    ].images.contiguous()


def labels_of(step: int, image_id: np.ndarray) -> np.ndarray:
    """Places of identities; of images in the order in which they are read the labels of a planned batch, four each."""
    return np.arange(len(image_id)) // 4


def bare_training(network: Backbone, files: Path, batch: int, steps: int) -> Iterator[None]:
    images, loss = resident(files, network, batch), MultiSimilarityLoss()
    labels = torch.from_numpy(labels_of(0, np.arange(batch)))
    optimizer = build_optimizer([network, loss], OptimizerConfig())
    network.train()
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss(network(images), labels).backward()
        optimizer.step()
        yield


def bare_forward(network: Backbone, files: Path, batch: int, steps: int) -> Iterator[None]:
    images = resident(files, network, batch)
    network.eval()
    for _ in range(steps):
        with torch.inference_mode():
            network(images)
        yield


def training(network: Backbone, files: Path, batch: int, steps: int) -> Iterator[None]:
    """As `subspace train` with its defaults: running means too."""
    loss, config = MultiSimilarityLoss(), OptimizerConfig()
    chunks = ImageChunks(order_of(1 + steps * batch // IMAGES), batch)
    dataset = DecodedBatches(store_of(files), chunks, network.input)
    running = RunningMeans(torch.zeros(batch, network.embedding_size))
    state = TrainingState(network, loss, build_optimizer([network, loss], config), running=running)
    for _ in train_steps(
        state, load_batches(dataset, range(steps), 0), labels_of, config, LoaderConfig(),
        first_step=0, total_steps=1000, device=CPU, seed=0,
    ):  # fmt: skip
        yield


def extraction(network: Backbone, files: Path, batch: int, steps: int) -> Iterator[None]:
    """As `subspace extract`, without what it does with the embeddings."""
    chunks = ImageChunks(order_of(1 + steps * batch // IMAGES), batch)
    dataset = DecodedBatches(store_of(files), chunks, network.input)
    for _ in embed(network, load_batches(dataset, range(steps), 0), CPU):
        yield


LOOPS = {"train": (bare_training, training), "extract": (bare_forward, extraction)}
MEASURES: dict[str, Callable[[str, Path, int], dict[str, float]]] = {
    "read": read_with,
    "decode": decode_alone,
    "loop": run_loop,
}

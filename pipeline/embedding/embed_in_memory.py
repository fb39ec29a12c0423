"""Embeddings of images at hand, for notebooks: `embed(network, images)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...train.data.preprocess_config import PreprocessConfig

if TYPE_CHECKING:
    from ...train.data.batches import ImageBatch
    from ...train.networks.backbone import Backbone

Picture = Any
"""A path, a PIL image, or an array: uint8[H, W, 3] or uint8[H, W]."""
MOST_CHANNELS = 4
"""A longer last side of an array is a width."""


def embed(
    network: Backbone | str | PathLike[str],
    images: Manifest | Picture | Sequence[Picture],
    *,
    flip: bool = False,
    normalize: bool = True,
    batch_size: int = 64,
    device: str | None = None,
    precision: str = "auto",
    weights: str | None = None,
    preprocess: dict[str, Any] | None = None,
    allow_code: bool = False,
) -> np.ndarray:
    """The embeddings of images, float32[n, D], in their order; in memory, so for as many as fit there.

    A `Backbone` is left on the device, and in training mode where it was.

    Args:
        network: a `Backbone`; or the path of a run or checkpoint; or a spec such as "onnx:face.onnx".
        images: a list of paths, PIL images or arrays (uint8 RGB [H, W, 3] or grey [H, W]); an array uint8[n, H, W, 3] or
            [n, H, W]; a `Manifest`, or the path of one; or one path, PIL image or array [H, W, 3], for float32[1, D].
        batch_size: images that pass through the network at once.
        flip: the mean with the mirror image, for twice the time.
        normalize: unit length; else as the network makes them.
        device: cpu, cuda, cuda:1 or mps; the fastest there is by default.
        precision: 32-true, tf32, bf16-mixed; auto: bf16-mixed on a GPU that has it.
        weights: published weights for a network that a spec builds.
        preprocess: over what the network says of its images, such as {"mean": 0.5, "std": 0.5, "channels": "RGB"}.
        allow_code: the checkpoint may call the `python:` function that it names, as that of a run may whose settings say so.

    Raises:
        InputError: an image cannot be read (which, and why), or something is no image; no such network; no batch size.

    Example:
        >>> import numpy as np
        >>> from subspace.pipeline import embed
        >>> from subspace.train import build_backbone
        >>> pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
        >>> embeddings = embed(build_backbone("small"), pictures, device="cpu")
        >>> embeddings.shape, embeddings.dtype, bool(np.allclose(np.linalg.norm(embeddings, axis=1), 1))
        ((3, 128), dtype('float32'), True)
    """
    from ...train.devices import pick_device
    from ...train.embedder import embed as embed_batches

    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: give 1 or more")
    backbone = _opened(network, weights, preprocess, allow_code)
    training = [module for module in backbone.modules() if module.training]
    batches = _batches(backbone, images, batch_size)
    found = embed_batches(
        backbone,
        batches,
        pick_device(device),
        precision,  # pyright: ignore[reportArgumentType]  # checked where it is settled
        flip=flip,
        normalize=normalize,
    )
    try:
        blocks = [np.array(embedded.embeddings) for embedded in found]
    finally:
        for module in training:
            module.training = True
    return np.concatenate([np.empty((0, backbone.embedding_size), np.float32), *blocks])


def _opened(
    network: Any, weights: str | None, preprocess: dict[str, Any] | None, allow_code: bool
) -> Backbone:
    from pydantic import ValidationError

    from .opened_network import choose_network, open_network, run_allows_code

    if not isinstance(network, (str, PathLike)):
        if preprocess or weights:
            raise InputError("weights and preprocess are for a network that is opened here; this one is open")
        return network
    try:
        settings = PreprocessConfig.model_validate(preprocess or {})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"preprocess: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    chosen = choose_network(fspath(network), weights)
    allowed = allow_code or run_allows_code(fspath(network))
    return open_network(chosen, settings, allow_code=allowed).network


def _batches(network: Backbone, images: Any, size: int) -> Iterator[ImageBatch]:
    if isinstance(images, (str, PathLike)):
        path = Path(fspath(images))
        if path.is_dir():
            raise InputError(
                f"{path} is a folder; give its files, or a manifest: `subspace ingest {path} --out FILE`"
            )
        images = Manifest.open(path) if path.suffix == ".parquet" else [path]
    if _is_one(images):
        images = [images]
    return (
        _of_manifest(network, images, size)
        if isinstance(images, Manifest)
        else _of_list(network, images, size)
    )


def _is_one(images: Any) -> bool:
    """Whether it is one picture, and not several of them."""
    from PIL import Image

    if not isinstance(images, np.ndarray):
        return isinstance(images, Image.Image)
    return images.ndim == 2 or (images.ndim == 3 and images.shape[2] <= MOST_CHANNELS)


def _of_manifest(network: Backbone, manifest: Manifest, size: int) -> Iterator[ImageBatch]:
    from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
    from ...train.data.images import ImageStore

    store = ImageStore(manifest)
    chunks = ImageChunks(np.arange(len(manifest)), size)
    for batch in load_batches(DecodedBatches(store, chunks, network.input), range(len(chunks)), 0):
        if batch.bad:
            bad = batch.bad[0]
            raise InputError(f"image {bad.image_id} of {manifest.path} cannot be read: {bad.reason}")
        yield batch


def _of_list(network: Backbone, images: Sequence[Picture], size: int) -> Iterator[ImageBatch]:
    import torch

    from ...train.data.batches import ImageBatch

    for step, start in enumerate(range(0, len(images), size)):
        some = range(start, min(len(images), start + size))
        pixels = np.stack([_pixels(images[place], place, network) for place in some])
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        yield ImageBatch(step, np.array(some), tensor, [])


def _pixels(picture: Picture, place: int, network: Backbone) -> np.ndarray:
    """One image as the network takes it: uint8[H, W, 3].

    Raises:
        InputError: it cannot be read, or is no image.
    """
    from PIL import Image

    from ...train.data.images import decode_pixels, picture_pixels

    called = f"image {place}"
    try:
        if isinstance(picture, (str, PathLike)):
            called = fspath(picture)
            return decode_pixels(Path(called).read_bytes(), network.input)
        if isinstance(picture, Image.Image):
            # A JPEG is told to decode no more than is needed, so that of the caller's a copy is decoded. Other formats
            # are read as they are: a copy forgets what a file says of its 16-bit samples.
            drafted = picture.format in ("JPEG", "MPO")
            return picture_pixels(picture.copy() if drafted else picture, network.input)
        if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim in (2, 3):
            return picture_pixels(Image.fromarray(picture), network.input)
    except InputError:
        raise
    except Exception as error:  # damaged files make decoders raise nearly any type of error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{called} cannot be read: {reason}") from error
    held = (
        f"{picture.dtype}{list(picture.shape)}" if isinstance(picture, np.ndarray) else type(picture).__name__
    )
    raise InputError(f"{called} is {held}: give a path, a PIL image, or an array uint8[height, width, 3]")

"""The first steps of every loss: shapes that fit, unit vectors, or an error that says what to do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.errors import InputError

SHORTEST = 1e-6
"""Embeddings shorter than this are divided by it: it bounds the gradient of an all-zero embedding."""
NOT_FINITE = "the embeddings hold NaN or infinity: lower the learning rate or lengthen its warm-up"


def check_images(name: str, embeddings: Tensor, labels: Tensor) -> None:
    """Refuse what is not float[B, D] with int[B]; only shapes and types are looked at, which waits for no device.

    Args:
        name: what errors call them, such as `embeddings`.

    Raises:
        InputError: no tensors, other shapes or types, or no images at all.
    """
    if not (isinstance(embeddings, Tensor) and isinstance(labels, Tensor)):
        kinds = f"{type(embeddings).__name__} and {type(labels).__name__}"
        raise InputError(f"{name} and labels are {kinds}: give two torch tensors")
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise InputError(
            f"{name} of shape {list(embeddings.shape)}: expected [images, numbers], one image or more"
        )
    if not embeddings.is_floating_point():
        raise InputError(f"{name} of type {embeddings.dtype}: give floating-point numbers")
    if labels.shape != embeddings.shape[:1]:
        raise InputError(
            f"labels of shape {list(labels.shape)} for {len(embeddings)} {name}: give one each, [{len(embeddings)}]"
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels of type {labels.dtype}: give whole numbers")


def unit_embeddings(embeddings_BD: Tensor) -> Tensor:
    """Normalise float[B, D] embeddings to unit length, in float32 at least.

    Raises:
        InputError: on the CPU, NaN or infinity among them: the network has diverged. On a GPU they stay, and the
            loss becomes NaN, since looking would wait for the device.
    """
    unit_BD = normalized(embeddings_BD)
    if not torch.compiler.is_compiling():
        check_finite(unit_BD)
    return unit_BD


def check_finite(unit_BD: Tensor) -> None:
    """Raise an InputError unless all of float[B, D] is finite; entries of at most 1 cannot overflow their sum.

    Nothing is looked at on a GPU: that would wait for it.
    """
    if unit_BD.device.type == "cpu" and not torch.isfinite(unit_BD.sum()):
        raise InputError(NOT_FINITE)


def normalized(embeddings_BD: Tensor) -> Tensor:
    """Like `unit_embeddings`, without the check: infinity becomes NaN, and NaN stays."""
    return functional.normalize(embeddings_BD.to(working_dtype(embeddings_BD)), dim=1, eps=SHORTEST)


def unit_and_length(embeddings_BD: Tensor) -> tuple[Tensor, Tensor]:
    """What `normalized` gives, and the lengths before it: float[B, D], float[B, 1]."""
    embeddings_BD = embeddings_BD.to(working_dtype(embeddings_BD))
    length_B1 = embeddings_BD.norm(dim=1, keepdim=True)
    return embeddings_BD / length_B1.clamp(min=SHORTEST), length_B1


def through_normalisation(slope_BD: Tensor, unit_BD: Tensor, length_B1: Tensor) -> Tensor:
    """Turn dL/d of the unit vectors into that of the embeddings, in place: what is across them, divided by their length."""
    along_B1 = torch.linalg.vecdot(slope_BD, unit_BD)[:, None] * (length_B1 >= SHORTEST)
    return slope_BD.addcmul_(unit_BD, along_B1, value=-1).div_(length_B1.clamp(min=SHORTEST))


def working_dtype(embeddings_BD: Tensor) -> torch.dtype:
    """What losses compute in: float32, or float64 where it comes so, as in checks of gradients."""
    return torch.float64 if embeddings_BD.dtype == torch.float64 else torch.float32

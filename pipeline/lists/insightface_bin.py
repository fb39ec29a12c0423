"""InsightFace's .bin of test pairs, such as lfw.bin: a pickle of encoded images and of which pairs are genuine.

It is read without unpickling (`plain_pickle`). Images 2i and 2i + 1 are pair i. Folds are the pairs in order.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from .listed_images import PairList, listed_manifest, refuse_one_kind
from .pickled_calls import PlainArray
from .plain_pickle import read_plain

IMAGES_AT_ONCE = 1000
"""In a chunk of the column: Arrow takes 2 GiB in one."""


def read_insightface_bin(path: Path) -> PairList:
    """Pairs of the images that a .bin holds; an image is called by its place, `lfw.bin#0` is the first.

    Memory: about twice the file.

    Raises:
        InputError: missing, damaged, a pickle of something else, or one that wants to call something; nothing is run.
    """
    value = _plain(path)
    if type(value) not in (tuple, list) or len(value) != 2 or type(value[0]) not in (tuple, list):
        raise InputError(
            f"{path} is a pickle of {_kind(value)}, not of images and of which pairs are genuine, as InsightFace's .bin is"
        )
    held, same = value[0], _booleans(path, value[1])
    if len(held) != 2 * len(same):
        raise InputError(
            f"{path} holds {len(held):,} images for {len(same):,} pairs, not two for each; it is cut short or put together wrongly"
        )
    refuse_one_kind(path, same)
    place: dict[int, int] = {}  # an image that occurs twice is one object
    number = np.array([place.setdefault(id(image), len(place)) for image in held])
    at = np.sort(np.unique(number, return_index=True)[1])
    chunks = [
        pa.array([_encoded(path, held[i], i) for i in at[start : start + IMAGES_AT_ONCE]], pa.binary())
        for start in range(0, len(at), IMAGES_AT_ONCE)
    ]
    names = [f"{path.name}#{i}" for i in at]
    manifest = listed_manifest(path, names, pa.chunked_array(chunks))
    return PairList(manifest, names, number[0::2], number[1::2], same)


def _plain(path: Path) -> Any:
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty; copy it again")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_plain(data, str(path))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give InsightFace's .bin, such as lfw.bin") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _booleans(path: Path, value: Any) -> np.ndarray:
    if type(value) is PlainArray and len(value.shape) == 1:
        value = list(value.raw)
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{path}: which pairs are genuine is {_kind(value)}, not a list of true and false")
    for pair, item in enumerate(value):
        if type(item) not in (bool, int) or item not in (0, 1):
            raise InputError(f"{path}: whether pair {pair} is genuine is {_kind(item)}, not true or false")
    return np.array(value, bool)


def _encoded(path: Path, image: Any, number: int) -> bytes:
    if type(image) is PlainArray:
        if len(image.shape) != 1:
            raise InputError(
                f"{path}: image {number} is pixels of shape {image.shape}; this reads encoded images (JPEG, PNG), as "
                "InsightFace writes them"
            )
        return image.raw
    if type(image) is not bytes:
        raise InputError(f"{path}: image {number} is {_kind(image)}, not the bytes of an encoded image")
    return image


def _kind(value: Any) -> str:
    if type(value) in (bool, int, type(None)):
        return str(value)[:40]
    if type(value) in (tuple, list):
        return f"a {type(value).__name__} of {len(value):,}"
    return {"str": "text", "bytes": "bytes", "PlainArray": "an array"}.get(
        type(value).__name__, "something else"
    )

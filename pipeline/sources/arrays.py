"""Arrays of images in .npy and .npz files, with their labels.

Their bytes are pixels, not images that a decoder knows, so they cannot be pointed at: each becomes a PNG inside the
manifest, without loss. A .npy of this machine is mapped and read image by image; an array of a .npz or
behind a URL is held in memory.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from ...mining.remote import in_words, is_url, open_remote, url_of
from ..rows.image_spool import ImageSpool
from ..tables.label_text import text_column
from .listing import JunkCount, Listing, joined
from .options import SourceOptions, Track
from .splits import SPLITS, canonical_split

_IMAGES, _LABELS = ("images", "image", "imgs", "x", "data"), ("labels", "label", "targets", "target", "y")
_AT_ONCE = 256
_TEXT = pa.large_string()


def list_npy(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """Take the images of a .npy, and their labels from NAME_labels.npy or `options.labels`.

    Raises:
        InputError: not an array of images, no labels or as many others, Python objects, damaged.
    """
    labels = options.labels or source.with_name(f"{source.stem}_labels.npy")
    if options.unlabelled:
        images = _load(source)
        nobody = np.full(len(images) if images.ndim else 0, "", "U1")
        what = f"identity: none; image: {source.name} as PNG"
        return _taken(source, source.name, images, nobody, what, options, spool, progress)
    if not is_url(labels) and not labels.exists():
        raise InputError(
            f"{in_words(source)} has no labels: {in_words(labels)} does not exist; name the file with --labels"
        )
    what = f"identity: {labels.name}; image: {source.name} as PNG"
    return _taken(source, source.name, _load(source), _load(labels), what, options, spool, progress)


def list_npz(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """Take the images and labels of a .npz, by name: `images` and `labels`, `x` and `y`, one pair for each split.

    Splits are said in front (`train_images`, as MedMNIST does) or behind (`x_train`, as Keras does).

    Raises:
        InputError: no pair of that kind, several and no option, Python objects, damaged.
    """
    try:
        file = np.load(_file(source), allow_pickle=False)
    except InputError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise _damaged(source, error) from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise InputError(f"{in_words(source)} is no .npz but one array; name it .npy")
    with file:
        pairs = _pairs(source, file.files, options)
        others = [name for name in file.files if all(name not in pair for pair in pairs.values())]
        unused = f"; not used: {', '.join(others)}" if others else ""
        listings = []
        for split, (image, label) in pairs.items():
            images, labels = (_array(source, file, name) for name in (image, label))
            what = f"identity: {label}; image: {image} as PNG"
            name = f"{source.name}/{image}"
            taken = _taken(source, name, images, labels, what, options, spool, progress)
            if split:
                column = pa.repeat(pa.scalar(split, _TEXT), len(taken.rows))
                reading = taken.reading.replace("split: none", f"split: {split}")
                taken = replace(taken, rows=taken.rows.append_column("split", column), reading=reading)
            listings.append(replace(taken, reading=taken.reading + unused))
    return joined([source] * len(listings), listings)


def _pairs(source: Path, names: list[str], options: SourceOptions) -> dict[str, tuple[str, str]]:
    """Names of images and labels by split; the split is empty where there is one pair without."""
    for name in (options.image_key, options.label_key):
        if name is not None and name not in names:
            raise InputError(f"{in_words(source)} has no array '{name}'; it has {', '.join(names)}")
    images, labels = (
        _by_split(names, _IMAGES, options.image_key),
        _by_split(names, _LABELS, options.label_key),
    )
    label_of = dict(labels)
    pairs = {split: (image, label_of[split]) for split, image in images if split in label_of}
    unclear = len(pairs) < len(images) or len(label_of) < len(labels) or (len(pairs) > 1 and "" in pairs)
    if unclear or not pairs:
        raise InputError(
            f"{in_words(source)} has arrays {', '.join(names)}: name the images and labels with --image-key and --label-key"
        )
    return pairs


def _by_split(names: list[str], words: tuple[str, ...], given: str | None) -> list[tuple[str, str]]:
    """Split and name of each array that is one of `words`, or of the one that is given."""
    found = [(_split_of(name, words), name) for name in names]
    return [(split, name) for split, name in found if split is not None] if given is None else [("", given)]


def _split_of(name: str, words: tuple[str, ...]) -> str | None:
    """The split in the name of an array that is one of `words`; None for another array."""
    either = "|".join(words)
    found = re.fullmatch(rf"(?:(\w+)_)?(?:{either})|(?:{either})_(\w+)", name.lower())
    if found is None:
        return None
    split = canonical_split(found[1] or found[2]) if found[1] or found[2] else ""
    return split if split in ("", *SPLITS) else None


def _array(source: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return file[name]
    except InputError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError, MemoryError) as error:
        raise _damaged(source, error) from error
    except Exception as error:  # zlib.error and others have no base of their own
        raise _damaged(source, error) from error


def _load(path: Path) -> np.ndarray:
    try:
        found = np.load(_file(path), mmap_mode=None if is_url(path) else "r", allow_pickle=False)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{in_words(path)} holds several arrays; name it .npz")
    return found


def _file(path: Path) -> Any:
    url = url_of(path)
    return path if url is None else open_remote(url)


def _damaged(path: Path, error: Exception) -> InputError:
    if "pickle" in str(error).lower() or "object arrays" in str(error).lower():
        why = "it holds Python objects, which run code when they are read; save arrays of numbers or strings"
    else:
        why = f"{(str(error).splitlines() or [type(error).__name__])[0]}; copy or make it again"
    return InputError(f"cannot read {in_words(path)}: {why}")


def _taken(
    source: Path, called: str, images: np.ndarray, labels: np.ndarray, what: str,
    options: SourceOptions, spool: ImageSpool, progress: Track,
) -> Listing:  # fmt: skip
    """Put the images into the spool as PNG."""
    if (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] not in (1, 3))
    ):
        raise InputError(
            f"{in_words(source)}: {called} is {images.dtype}{list(images.shape)}; images are uint8 [N, height, width] or "
            "[N, height, width, 3]"
        )
    if 0 in images.shape[1:]:
        raise InputError(f"{in_words(source)}: {called} is uint8{list(images.shape)}, images without a pixel")
    labels = labels.reshape(-1) if labels.shape[1:] == (1,) else labels
    if labels.ndim != 1 or len(labels) != len(images):
        raise InputError(
            f"{in_words(source)}: labels {list(labels.shape)} are not one for each of {len(images):,} images"
        )
    identity = text_column(pa.chunked_array([_arrow(source, labels)]), f"{in_words(source)}: the label")
    nobody = JunkCount(options)
    kept = np.flatnonzero(nobody.others(identity).to_numpy())

    def each() -> Iterator[int]:
        for begin in range(0, len(kept), _AT_ONCE):
            some = kept[begin : begin + _AT_ONCE]
            spool.add(pa.array([_png(images[at]) for at in some], pa.large_binary()))
            yield from range(len(some))

    deque(progress(each()), maxlen=0)  # runs through them
    uri = pa.array((f"{called}[{at}]" for at in kept), _TEXT)
    rows = pa.table({"identity": identity.take(pa.array(kept)), "uri": uri})
    notes = tuple(nobody.notes())
    return Listing(rows, f"{what}; split: none; group: none", notes, counted=True, inline=True)


def _arrow(source: Path, labels: np.ndarray) -> pa.Array:
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{in_words(source)}: a label is not UTF-8; write it again as UTF-8") from error
    try:
        if labels.dtype.kind == "U":
            return pa.array(labels.tolist(), _TEXT)
        return pa.array(np.ascontiguousarray(labels).astype(labels.dtype.newbyteorder("=")))
    except (pa.ArrowException, UnicodeEncodeError, ValueError) as error:
        raise InputError(
            f"{in_words(source)}: labels are {labels.dtype}; save integers or strings"
        ) from error


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2:] == (1,) else image))
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()

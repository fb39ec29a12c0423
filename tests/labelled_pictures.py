"""A few labelled pictures to write in any format, and their pixels as a manifest gives them back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from subspace.mining.manifest import Manifest
from subspace.pipeline.sources.ingest import IngestSummary, ingest_images
from subspace.pipeline.sources.options import IngestOptions
from subspace.train import ImageStore

SIDE = 12


class Picture(NamedTuple):
    """One encoded picture."""

    label: int
    name: str
    data: bytes


def pictures(count: int = 8, people: int = 4, kind: str = "JPEG") -> list[Picture]:
    """Pictures of 12 x 12 pixels, no two alike; the labels go round."""
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(file := io.BytesIO(), kind)
        suffix = {"JPEG": "jpg", "PNG": "png"}[kind]
        made.append(Picture(number % people, f"{number:04}.{suffix}", file.getvalue()))
    return made


def write_folder(folder: Path, made: list[Picture]) -> Path:
    """The pictures as a folder per identity."""
    for picture in made:
        path = folder / str(picture.label) / picture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.data)
    return folder


def ingested(source: Path | list[Path], out: Path, **options: Any) -> IngestSummary:
    """`ingest_images` without held-out identities; images of equal bytes stay, as many tests write the same few bytes."""
    given = {"test_fraction": 0.0, "check_repeats": "none", **options}
    return ingest_images(source, out, IngestOptions(**given))


def pixel_sums(manifest: Path) -> list[tuple[str, int]]:
    """Identity and sum of the pixels of every image, decoded, in order."""
    opened = Manifest.open(manifest)
    store = ImageStore(opened)
    found = []
    for number, identity in enumerate(opened.table["identity"].to_pylist()):
        decoded = store.decode(number, SIDE)
        assert isinstance(decoded, np.ndarray), decoded
        found.append((identity, int(decoded.astype(np.int64).sum())))
    return sorted(found)


def folder_sums(made: list[Picture], tmp_path: Path) -> list[tuple[str, int]]:
    """`pixel_sums` of the pictures as a folder: what any other format must give."""
    ingested(write_folder(tmp_path / "as a folder", made), tmp_path / "folder.parquet")
    return pixel_sums(tmp_path / "folder.parquet")

"""Which images show an identity."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from subspace.mining import Manifest
from subspace.pipeline.pictures.picture_book import PictureBook
from subspace.pipeline.pictures.run_images import RunImages


def book(without: list[int] | None = None, seed: int = 0) -> PictureBook:
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), np.uint8)
    images = []
    for pixels in noise:
        Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
        images.append(file.getvalue())
    images[11] = b"cut short"
    rows = {
        "identity_id": pa.array([0] * 8 + [1] * 4, pa.int32()), "keep": [False] + [True] * 11,
        "split": ["train"] * 7 + ["test"] + ["train"] * 4, "image": images, "uri": [""] * 12,
        "offset": [None] * 12, "length": [None] * 12,
    }  # fmt: skip
    manifest = Manifest(Path("noise.parquet"), pa.table(rows), fingerprint="0")
    bad = None if without is None else np.array(without)
    return PictureBook(RunImages(manifest), ["train"], bad, seed)


def test_an_identity_is_shown_by_images_that_were_trained_on() -> None:
    assert sorted(book().rows_of(0, 9)) == [1, 2, 3, 4, 5, 6]
    assert sorted(book(without=[2, 3]).rows_of(0, 9)) == [1, 4, 5, 6]
    assert book().rows_of(7, 3) == []


def test_images_are_drawn_by_seed_and_more_are_more_of_the_same() -> None:
    two, four = book().rows_of(0, 2), book().rows_of(0, 4)
    assert two == four[:2]
    assert {tuple(book(seed=seed).rows_of(0, 2)) for seed in range(6)} != {tuple(two)}


def test_a_picture_says_whom_it_shows_and_whether_it_could_be_read() -> None:
    found = book()
    assert found.picture(8, "bob, a probe", 16)[1:] == ("bob, a probe", True)
    bad = found.picture(11, "bob, a probe", 16)
    assert (bad.alt, bad.readable) == ("bob, a probe: cannot be read (not an image of a known format)", False)


def test_pictures_shrink_to_fit_a_budget() -> None:
    found = book()
    rows = list(range(11))
    taken = {side: sum(len(found.images.webp_uri(row, side)) for row in rows) for side in (16, 32, 48)}
    assert found.pixels_within(rows, (48, 32, 16), taken[48]) == 48
    assert found.pixels_within(rows, (48, 32, 16), taken[48] - 1) == 32
    assert found.pixels_within(rows, (48, 32, 16), 10) == 16
    assert found.pixels_within([], (48, 32), 10) == 48

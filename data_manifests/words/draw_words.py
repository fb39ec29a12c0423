"""A word written by a face, 32 × 128 pixels in 16 grey levels: light ink on black, fitted to the picture.

The letters are set side by side by their advance. The face is scaled so that the room from the feet of g, p, q, y to the
heads of b, d, h, k, l takes 22 to 28 of the 32 pixels, and a word that is too long then is condensed. Size, left margin
and height are drawn by seed, and so are the families that write a word and the face of each.
"""

from __future__ import annotations

import ctypes

import freetype
import numpy as np
from freetype import raw
from word_faces import Coverage, FaceLetters

from subspace.mining.randomness import generator

HEIGHT, WIDTH = 32, 128
SMALLEST, LARGEST = 22, 28
"""Pixels from feet to heads."""
MARGIN, MOST_LEFT = 2, 10
"""Pixels left free beside a word at least, and on the left at most."""
ABOVE = 1
"""Pixels left free above and below."""
PICTURE_BYTES = HEIGHT * WIDTH // 2
SEED = 20_241_128
DRAWING = {
    "height": HEIGHT,
    "width": WIDTH,
    "smallest": SMALLEST,
    "largest": LARGEST,
    "margin": MARGIN,
    "most left": MOST_LEFT,
    "above": ABOVE,
    "seed": SEED,
}
_NUMBERS = 4  # drawn for each image: face, size, left margin, height


def choose_faces(word: str, coverage: Coverage, images: int) -> list[tuple[int, np.ndarray]]:
    """At most so many faces of as many families, and three numbers from 0 to 1 that each picture is drawn by.

    A function of the word and the faces: fewer images are the first of more.
    """
    can_F = coverage.of(word)
    random = generator(SEED, "words", word)
    order = np.argsort(random.random(len(coverage.families)), kind="stable")
    chosen = []
    for family in order:
        if len(chosen) == images:
            break
        own = coverage.faces_of[family]
        own = own[can_F[own]]
        if len(own):
            numbers = random.random(_NUMBERS)
            chosen.append((int(own[int(numbers[0] * len(own))]), numbers[1:]))
    return chosen


def draw_word(word: str, face: FaceLetters, numbers: np.ndarray) -> bytes:
    """The packed picture of a word, 2,048 bytes: two pixels a byte, the left one in the high bits."""
    letters = [face.letters[letter] for letter in word]
    counts = [len(letter.points_n2) for letter in letters]
    pens = np.cumsum([0, *(letter.advance for letter in letters[:-1])])
    points = np.concatenate([letter.points_n2 for letter in letters]).astype(np.float64)
    points[:, 0] += np.repeat(pens, counts)
    ends = np.concatenate(
        [letter.ends + first for letter, first in zip(letters, np.cumsum([0, *counts[:-1]]), strict=True)]
    )
    size, left, height = numbers.tolist()
    (west, south), (east, north) = points.min(0), points.max(0)

    room = SMALLEST + size * (LARGEST - SMALLEST)
    up = min(room / (face.top - face.bottom), (HEIGHT - 2 * ABOVE) / (north - south))
    along = min(up, (WIDTH - 2 * MARGIN) / max(1.0, east - west))
    free = WIDTH - 2 * MARGIN - (east - west) * along
    x = MARGIN + left * min(MOST_LEFT - MARGIN, free) - west * along
    y = height * (HEIGHT - up * (face.top - face.bottom)) - face.bottom * up  # of the line, from below
    y = min(max(y, ABOVE - south * up), HEIGHT - ABOVE - north * up)
    placed = np.rint((points * (along, up) + (x, y)) * 64).astype(_LONG)
    return _pack(_draw(placed, b"".join(letter.tags for letter in letters), ends.astype(np.int16)))


_LONG = np.dtype(f"i{ctypes.sizeof(ctypes.c_long)}")


def _draw(points_n2: np.ndarray, tags: bytes, ends: np.ndarray) -> np.ndarray:
    """Grey values of an outline in 1/64 pixels, uint8[32, 128]."""
    grey = np.zeros((HEIGHT, WIDTH), np.uint8)
    outline, bitmap = raw.FT_Outline(), raw.FT_Bitmap()
    outline.n_points, outline.n_contours = len(points_n2), len(ends)
    outline.points = ctypes.cast(points_n2.ctypes.data, type(outline.points))
    outline.tags = ctypes.cast(tags, type(outline.tags))
    outline.contours = ctypes.cast(ends.ctypes.data, type(outline.contours))
    outline.flags = 0
    bitmap.rows, bitmap.width, bitmap.pitch = HEIGHT, WIDTH, WIDTH
    bitmap.num_grays, bitmap.pixel_mode = 256, freetype.FT_PIXEL_MODE_GRAY
    bitmap.buffer = ctypes.cast(grey.ctypes.data, type(bitmap.buffer))
    raw.FT_Outline_Get_Bitmap(freetype.get_handle(), ctypes.byref(outline), ctypes.byref(bitmap))
    return grey


def _pack(grey: np.ndarray) -> bytes:
    levels = ((grey.astype(np.uint16) + 8) // 17).astype(np.uint8)
    return (levels[:, ::2] << 4 | levels[:, 1::2]).tobytes()

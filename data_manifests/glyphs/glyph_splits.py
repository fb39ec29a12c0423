"""Which characters are held out, and which of the others serve pretraining.

The order in which characters are taken is drawn once for all of Unicode, so that a package more or less moves few
of them from one split to another. `val` and `test` have clean characters only, so that they measure the network
and not the labels; `train` stays as it is, noise and all, as real training sets are.
"""

from __future__ import annotations

import sys
import unicodedata

import numpy as np

from subspace.mining.randomness import generator
from subspace.pipeline.sources.splits import SPLITS

SEED = 20_240_501
TEST, VAL, PRETRAIN = 10_000, 2_000, 10_000
"""Identities."""
LEAST_FAMILIES = 2
"""Of a held-out identity: a pair is of two families."""


def is_clean(code: int) -> bool:
    """A letter (Unicode category Lo, Lu or Ll) that is its own NFKC form.

    Compatibility ideographs and full-width forms are not, and neither are dashes, dots and boxes, which are one
    picture under many names.
    """
    letter = chr(code)
    return (
        unicodedata.category(letter) in ("Lo", "Lu", "Ll") and unicodedata.normalize("NFKC", letter) == letter
    )


def glyph_splits(code: np.ndarray, images: np.ndarray, families: np.ndarray, least_images: int) -> np.ndarray:
    """The split of each identity, as indices into SPLITS: int8[I].

    The arguments are int[I]: code points, and how many images and type families each has. `test`, then `val`, take
    the first clean ones with `least_images` images and two families; `pretrain` the first of the others with
    `least_images` images. Fewer than asked for where there are not enough.
    """
    place = np.empty(sys.maxunicode + 1, np.int64)
    place[generator(SEED, "glyph splits").permutation(len(place))] = np.arange(len(place))
    in_order = np.argsort(place[code])
    clean = np.fromiter(map(is_clean, code.tolist()), bool, len(code))
    rich = images >= least_images
    split = np.full(len(code), SPLITS.index("train"), np.int8)
    held_out = in_order[(clean & rich & (families >= LEAST_FAMILIES))[in_order]]
    split[held_out[:TEST]] = SPLITS.index("test")
    split[held_out[TEST : TEST + VAL]] = SPLITS.index("val")
    others = in_order[(rich & (split == SPLITS.index("train")))[in_order]]
    split[others[:PRETRAIN]] = SPLITS.index("pretrain")
    return split

"""Randomness as a function: a fresh generator for every (seed, purpose, ...), never global state."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """A generator that depends on nothing but its arguments, e.g. `generator(0, "plan", round_index, step)`."""
    words = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in purpose]
    return np.random.default_rng([seed, *words])


def derived_seed(seed: int, *purpose: int | str) -> int:
    """A 31-bit seed for libraries that want a number (FAISS, torch)."""
    return int(generator(seed, *purpose).integers(2**31 - 1))

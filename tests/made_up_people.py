"""Image embeddings of people that nobody photographed, under names that are right or wrong, for the tests of cleaning."""

from __future__ import annotations

import numpy as np
from made_up_embeddings import unit


def people(seed: int, identities: int, images: int | np.ndarray, scatter: float = 0.5, d: int = 48):
    """Unit embeddings float32[n, d] and identities int64[n], ascending; images of one have a cosine of about 1 / (1 + scatter²)."""
    random = np.random.default_rng(seed)
    identity = np.repeat(np.arange(identities), images)
    faces = random.standard_normal((identities, d))
    return unit(faces[identity] + scatter * random.standard_normal((len(identity), d))), identity


def sorted_by_name(embeddings: np.ndarray, name: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings and names sorted by name, and the row that each was."""
    order = np.argsort(name, kind="stable")
    return embeddings[order], name[order], order

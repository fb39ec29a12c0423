"""What was found for each query, with names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...mining.index.gallery import Matches, Stages
from .index_folder import IndexFolder
from .queries import Queries

AT_A_TIME = 1_024
"""Queries that are searched together."""


@dataclass(frozen=True)
class Match:
    """Something in the index that is similar to a query."""

    identity: str
    similarity: float
    image: str
    """The image of that identity that is most similar."""


@dataclass(frozen=True)
class Answer:
    """What the index says of one query."""

    query: str
    known: bool
    """Whether the best match passes the threshold; True without one."""
    matches: list[Match]
    """Best first; of an unknown query the nearest one alone, which does not pass."""


def search_index(
    folder: IndexFolder,
    queries: Queries,
    top: int,
    *,
    T: int = 100,
    stages: Stages = "two",
    list_images: bool = False,
    exact: bool = False,
    threshold: float | None = None,
    track: Callable[[int], None] = lambda queries: None,
) -> list[Answer]:
    """Answer every query, some at a time.

    Args:
        threshold: matches below it are left out; a query that has no other is unknown.

    Raises:
        InputError: -T below `top`.
        StaleArtifactError: damage inside the index.
    """
    answers = []
    for start in range(0, len(queries.names), AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        with folder.whole():
            found = folder.gallery.search(
                queries.embeddings[part], top, T=T, stages=stages, list_images=list_images, exact=exact
            )
            _refuse_nonsense(found)
        answers += _named(folder, queries.names[part], found, threshold)
        track(len(found.similarity))
    return answers


def _named(folder: IndexFolder, names: list[str], found: Matches, threshold: float | None) -> list[Answer]:
    there = found.identity >= 0
    identities = iter(folder.identity_names.at(found.identity[there]))
    images = iter(folder.image_names.at(found.image[there]))
    answers = []
    for name, similarity_k, there_k in zip(names, found.similarity, there, strict=True):
        matches = [
            Match(next(identities), float(similarity), next(images)) for similarity in similarity_k[there_k]
        ]
        passing = [match for match in matches if threshold is None or match.similarity >= threshold]
        answers.append(Answer(name, bool(passing), passing or matches[:1]))
    return answers


def _refuse_nonsense(found: Matches) -> None:
    similarity = found.similarity[found.identity >= 0]
    if not np.isfinite(similarity).all() or (np.abs(similarity) > 1.01).any():
        raise ValueError("some of its vectors have not unit length")

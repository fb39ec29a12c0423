"""The map: identities of some subspaces in two dimensions, with the pictures and the nearest neighbours of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...mining.clustering.lookalikes import Nearest, nearest_of_some
from ...mining.clustering.tsne import tsne_map
from ...mining.randomness import generator
from ..pictures.picture_book import PictureBook
from ..pictures.round_sample import RoundSample
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from .shown import Shown, no_pictures, shown_identity

TITLE = "Which identities are near each other?"
POINTS, TOGETHER = 1_200, 3
"""Identities on the map; nearest ones that come with each that is drawn by lot, so that look-alikes are on it."""
OWN, NEIGHBORS = 3, 5
"""Pictures of each point, and nearest identities that are named beside it."""
PICTURE_BYTES, SIZES = 8_000_000, (48, 40, 32, 24, 16)
"""In the page, and pixels of the longer side: the largest that fit."""
WIDTH, HEIGHT, MARGIN = 1000, 680, 14
HUES = 6
"""Colours; a subspace after them takes the first again in another shape."""
LEGEND_PICTURES = 5


class Point(NamedTuple):
    """An identity on the map."""

    x: float
    y: float
    look: str
    """Classes of its colour and shape."""
    name: str
    subspace: int


class Legend(NamedTuple):
    """A subspace on the map."""

    subspace: int
    look: str
    points: int
    example: Shown


def make_identity_map(report: RunReport) -> Section:
    """The map, and as data what its script shows of each point."""
    book, sample = report.pictures, report.sample
    if book is None or sample is None:
        return fill_section(
            "identity_map", TITLE, answer=no_pictures(report), points=[], legend=[], notes=[], data={}
        )
    chosen = drawn_points(sample, report.seed)
    nearest = nearest_of_some(sample.means, sample.home, chosen, NEIGHBORS)
    place = tsne_map(sample.means[chosen])
    data, notes = _data(book, sample, chosen, nearest)
    points = _points(sample, chosen, place)
    words = (
        f"{len(chosen):,} identities of {sample.folder.name}, placed by t-SNE so that near ones by the cosine of their "
        "means lie near each other; distances between far ones mean little. Colour and shape are the subspace. Choose a "
        "point, or a name, to see its pictures and its nearest identities."
    )
    drawn = f"Drawn from {sample.in_words()}: identities by lot, each with its {TOGETHER} nearest."
    if len(chosen) == len(sample.rows):
        drawn = f"These are {sample.in_words()}."
    return fill_section(
        "identity_map",
        TITLE,
        answer=words,
        points=points,
        legend=_legend(book, sample, chosen),
        notes=[drawn, *notes],
        data=data,
    )


def drawn_points(sample: RoundSample, seed: int, most: int = POINTS) -> np.ndarray:
    """Rows of the sample that are on the map, ascending: of every subspace some by lot, and the nearest of these."""
    if len(sample.rows) <= most:
        return np.arange(len(sample.rows))
    home, share = sample.home, most // len(sample.subspaces)
    chosen: list[np.ndarray] = []
    for subspace in sample.subspaces.tolist():
        members = np.flatnonzero(home == subspace)
        lot = generator(seed, "report map", subspace).permutation(members)[:share]
        near = nearest_of_some(sample.means, home, lot, TOGETHER).row
        in_turn = np.concatenate((lot[:, None], near), axis=1).ravel()
        in_turn = in_turn[np.sort(np.unique(in_turn, return_index=True)[1])]
        chosen.append(in_turn[in_turn >= 0][:share])
    return np.sort(np.concatenate(chosen))


def look_of(place: int) -> str:
    """Classes of the colour and the shape of the subspace at this place among those drawn.

    >>> look_of(0), look_of(7)
    ('m1 dot', 'm2 box')
    """
    return f"m{place % HUES + 1} {('dot', 'box', 'tip')[place // HUES % 3]}"


def _points(sample: RoundSample, chosen: np.ndarray, place: np.ndarray) -> list[Point]:
    low, high = place.min(axis=0), place.max(axis=0)
    at = (place - low) / np.maximum(high - low, 1e-9)
    room = np.array([WIDTH, HEIGHT]) - 2 * MARGIN
    at = np.round(MARGIN + at * room, 1)
    rank = np.searchsorted(sample.subspaces, sample.home)
    return [
        Point(x, y, look_of(int(rank[row])), sample.name(int(sample.rows[row])), int(sample.home[row]))
        for row, (x, y) in zip(chosen.tolist(), at.tolist(), strict=True)
    ]


def _legend(book: PictureBook, sample: RoundSample, chosen: np.ndarray) -> list[Legend]:
    """Each subspace with pictures of the identities nearest to its middle."""
    found: list[Legend] = []
    for place, subspace in enumerate(sample.subspaces.tolist()):
        members = np.flatnonzero(sample.home == subspace)
        middle = sample.means[members].mean(axis=0)
        nearest = members[np.argsort(-(sample.means[members] @ middle), kind="stable")][:LEGEND_PICTURES]
        pictures = []
        for row in nearest.tolist():
            identity = int(sample.rows[row])
            shown = shown_identity(
                book,
                int(sample.identity_id[identity]),
                sample.name(identity),
                f"in the middle of subspace {subspace}",
                1,
                32,
            )
            pictures += shown.pictures
        points = int((sample.home[chosen] == subspace).sum())
        found.append(Legend(subspace, look_of(place), points, Shown(f"subspace {subspace}", pictures)))
    return found


def _data(
    book: PictureBook, sample: RoundSample, chosen: np.ndarray, nearest: Nearest
) -> tuple[dict[str, Any], list[str]]:
    """What the script shows: identities, points first, their pictures each once, and the neighbours of points."""
    beyond = np.setdiff1d(nearest.row[nearest.row >= 0], chosen)
    listed = np.concatenate((chosen, beyond))
    place_of = {row: place for place, row in enumerate(listed.tolist())}
    images = [
        book.rows_of(int(sample.identity_id[sample.rows[row]]), OWN if place < len(chosen) else 1)
        for place, row in enumerate(listed.tolist())
    ]
    wanted = sorted({image for of_one in images for image in of_one})
    pixels = book.pixels_within(wanted, SIZES, PICTURE_BYTES)
    book.load(wanted, pixels)
    number = {image: place for place, image in enumerate(wanted)}
    identities = [
        [sample.name(int(sample.rows[row])), int(sample.home[row]), [number[image] for image in of_one]]
        for row, of_one in zip(listed.tolist(), images, strict=True)
    ]
    near = [
        [
            [place_of[other], round(float(cosine), 3)]
            for other, cosine in zip(rows, cosines, strict=True)
            if other >= 0
        ]
        for rows, cosines in zip(nearest.row.tolist(), nearest.similarity.tolist(), strict=True)
    ]
    bad = [image for image in wanted if image in book.images.unreadable]
    notes = (
        [f"{len(bad):,} of {len(wanted):,} images could not be read; a grey cross stands for each."]
        if bad
        else []
    )
    pictures = [book.images.webp_uri(image, pixels) for image in wanted]
    unreadable = [number[image] for image in bad]
    return {"identities": identities, "near": near, "pictures": pictures, "unreadable": unreadable}, notes

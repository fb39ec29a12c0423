"""What is a look-alike here: the hardest pairs of identities inside subspaces, and batches beside random ones, in pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...mining.clustering.lookalikes import hardest_pairs, nearest_of_some
from ...mining.clustering.mean_blocks import MeanBlocks
from ...mining.clustering.mean_table import MeanTable
from ...mining.parquet_tables import read_parquet
from ...mining.randomness import generator
from ...mining.schemas import PLAN
from ...train.data.plan_reader import Plan
from ..montages.batch import settings_of
from ..pictures.picture_book import PictureBook
from ..pictures.round_sample import RoundSample
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from .shown import Shown, no_pictures, shown_identity, unreadable_note

TITLE = "What is a look-alike here?"
PAIRS, LOOKED = 16, 12_000
"""Pairs shown, and identities whose nearest ones are looked at."""
OF_EACH, PIXELS, SMALL = 3, 64, 48
BATCHES, MOST_SHOWN = 2, 24
"""Batches shown, and identities of each."""
EVERYBODY = "from everybody"


class Pair(NamedTuple):
    """Two identities that look alike."""

    a: Shown
    b: Shown
    cosine: str
    subspace: int


class Member(NamedTuple):
    """An identity of a batch."""

    shown: Shown
    nearest: str
    """Cosine to the nearest other of the batch."""


class Group(NamedTuple):
    """Identities of a batch that were drawn together."""

    words: str
    marked: bool
    """Whether they are look-alikes by the plan."""
    members: list[Member]


class Batch(NamedTuple):
    """A batch as far as it is shown."""

    title: str
    hardness: str
    groups: list[Group]
    more: int
    """Identities that are not shown."""


def make_lookalikes(report: RunReport) -> Section:
    """The gallery, and batches of the latest plan beside random ones."""
    book, sample = report.pictures, report.sample
    if book is None or sample is None:
        return fill_section("lookalikes", TITLE, answer=no_pictures(report), pairs=[], batches=[], notes=[])
    pairs = _pairs(book, sample, report.seed)
    batches = _batches(report, book, sample)
    notes = [f"Of {sample.folder.name}, from {sample.in_words()}."]
    every = [identity for pair in pairs for identity in (pair.a, pair.b)]
    every += [
        one.shown for pair in batches for batch in pair for group in batch.groups for one in group.members
    ]
    notes += unreadable_note(picture for identity in every for picture in identity.pictures)
    return fill_section(
        "lookalikes", TITLE, answer=_answer(pairs, batches), pairs=pairs, batches=batches, notes=notes
    )


def _answer(pairs: list[Pair], batches: list[tuple[Batch, Batch]]) -> str:
    if not pairs:
        return "No subspace has two identities, so there are no look-alikes."
    words = (
        "Below are the most similar pairs of identities of one subspace, by the cosine of their means; "
        "each identity is in one pair at most."
    )
    if batches:
        words += " Batches of the plan follow, each beside one whose identities are drawn from everybody."
    return words


def _pairs(book: PictureBook, sample: RoundSample, seed: int) -> list[Pair]:
    asked = np.arange(len(sample.rows))
    if len(asked) > LOOKED:
        asked = np.sort(generator(seed, "report pairs").choice(asked, LOOKED, replace=False))
    found = hardest_pairs(asked, nearest_of_some(sample.means, sample.home, asked, 1), PAIRS)
    both = [sample.rows[side] for side in (found.a, found.b)]
    book.load(
        (
            image
            for side in both
            for row in side
            for image in book.rows_of(int(sample.identity_id[row]), OF_EACH)
        ),
        PIXELS,
    )
    return [
        Pair(
            *(
                shown_identity(
                    book,
                    int(sample.identity_id[row]),
                    sample.name(row),
                    f"looks like {sample.name(other)}",
                    OF_EACH,
                    PIXELS,
                )
                for row, other in ((a, b), (b, a))
            ),
            cosine=f"{cosine:.3f}",
            subspace=int(sample.subspace_id[a]),
        )
        for a, b, cosine in zip(both[0].tolist(), both[1].tolist(), found.similarity.tolist(), strict=True)
    ]


def _batches(report: RunReport, book: PictureBook, sample: RoundSample) -> list[tuple[Batch, Batch]]:
    """Each batch of the plan with the random one beside it; none where the round has no plan (yet)."""
    if not sample.folder.finished("plan"):
        return []
    plan = Plan(sample.folder.plan, images=len(book.manifest))
    (P, K), seed = plan.batch_shape, report.seed
    steps = np.sort(generator(seed, "report batches").permutation(len(plan))[:BATCHES]).tolist()
    subspace_of_step = np.concatenate(
        [read_parquet(part, PLAN, ["subspace_id"])["subspace_id"].to_numpy() for part in plan.parts]
    )
    rows_bP, images = [], []
    for step in steps:
        of_step = plan[step]
        identity_id = plan.identities_of(step, of_step)[::K]
        if not np.isin(identity_id, sample.identity_id).all():  # of other means than the round has now
            return []
        rows_bP.append(np.searchsorted(sample.identity_id, identity_id))
        images.append(of_step.reshape(P, K))
    total = len(sample.identity_id)
    random_bP = [
        generator(seed, "report random batch", step).choice(total, min(P, total), replace=False)
        for step in steps
    ]
    wanted = np.unique(np.concatenate([*rows_bP, *random_bP]))
    means = MeanBlocks(MeanTable(sample.folder.identities)).rows(wanted)
    config = settings_of(sample.folder, report.settings.plan)
    grouped = config.seeds_per_batch * config.draw.group_size
    made: list[tuple[Batch, Batch]] = []
    for step, planned, taken, random in zip(steps, rows_bP, images, random_bP, strict=True):
        groups = _cut(planned, grouped, config.draw.group_size)
        of_row = dict(zip(planned.tolist(), taken.tolist(), strict=True))
        at_random = {row: book.rows_of(int(sample.identity_id[row]), K) for row in random.tolist()}
        subspace = subspace_of_step[step]
        home = f", subspace {subspace}" if subspace >= 0 else ""
        sides = (
            (f"Step {step:,} of the plan{home}", groups, of_row),
            ("As many, drawn from everybody", [(EVERYBODY, random)], at_random),
        )
        made.append(
            (
                _batch(book, sample, *sides[0], means[np.searchsorted(wanted, planned)]),
                _batch(book, sample, *sides[1], means[np.searchsorted(wanted, random)]),
            )
        )
    return made


def _cut(rows: np.ndarray, grouped: int, size: int) -> list[tuple[str, np.ndarray]]:
    """The identities of a planned batch by how they were drawn."""
    found: list[tuple[str, np.ndarray]] = []
    if size > 1:
        found = [(f"a group of {size} look-alikes", rows[at : at + size]) for at in range(0, grouped, size)]
    elif grouped:
        found = [("from one subspace", rows[:grouped])]
    return [*found, *([(EVERYBODY, rows[grouped:])] if grouped < len(rows) else [])]


def _batch(
    book: PictureBook, sample: RoundSample, title: str, groups: list[tuple[str, np.ndarray]],
    images: dict[int, list[int]], means_PD: np.ndarray,
) -> Batch:  # fmt: skip
    """A batch, its groups first; of those that are no group of look-alikes, the nearest ones side by side.

    Args:
        groups: all rows of the batch, in its order.
        means_PD: their means.
    """
    similarity_PP = means_PD @ means_PD.T
    np.fill_diagonal(similarity_PP, -np.inf)
    nearest = similarity_PP.max(axis=1)
    kept_last = MOST_SHOWN // 3 if len(groups) > 1 else 0  # for those from everybody, who come last
    left, start, shown = MOST_SHOWN, 0, []
    for words, rows in groups:
        places = np.arange(start, start + len(rows))
        start += len(rows)
        if not words.startswith("a group"):
            places = places[chain(similarity_PP[np.ix_(places, places)])]
        places = places[: left if start == len(means_PD) else max(0, left - kept_last)]
        left -= len(places)
        of_place = dict(zip(range(start - len(rows), start), rows.tolist(), strict=True))
        book.load((image for place in places.tolist() for image in images[of_place[place]][:2]), SMALL)
        cells = [
            Member(
                Shown(
                    name := sample.name(of_place[place]),
                    [
                        book.picture(image, f"{name}, in a batch, {words}", SMALL)
                        for image in images[of_place[place]][:2]
                    ],
                ),
                f"{nearest[place]:.2f}",
            )
            for place in places.tolist()
        ]
        shown += [Group(words, words != EVERYBODY, cells)] if cells else []
    return Batch(title, f"{nearest.mean():.2f}", shown, len(means_PD) - (MOST_SHOWN - left))


def chain(similarity_nn: np.ndarray) -> list[int]:
    """An order in which near ones stand side by side: from the most similar pair, always to the nearest that is left.

    >>> cosine = np.array([[-1, 0.1, 0.9, 0.3], [0.1, -1, 0.2, 0.8], [0.9, 0.2, -1, 0.4], [0.3, 0.8, 0.4, -1]])
    >>> chain(cosine)
    [0, 2, 3, 1]
    """
    left = similarity_nn.copy()
    if len(left) < 2:
        return list(range(len(left)))
    here, order = int(left.max(axis=1).argmax()), []
    for _ in range(len(left)):
        order.append(here)
        left[:, here] = -np.inf
        here = int(left[here].argmax())
    return order

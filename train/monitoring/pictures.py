"""What a batch looks like: similarities of its pairs, and its hardest triplets as one picture.

Shapes: B images in a batch, n images whose pixels are at hand, D numbers in an embedding, T triplets,
h × w pixels an image, p and q pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...mining.triplets import Triplets, mine_offline
from ..losses.unit_length import normalized

PAIRS_AT_MOST = 1_000_000
TILE = 96
"""Narrower images are enlarged to about so many pixels of width."""
GAP = 4
LINE = 12
"""Height of a line of text in the built-in font."""
LETTER = 6
"""Width of one of its letters, about."""


class PairSimilarities(NamedTuple):
    """Cosines of pairs of images."""

    positive: np.ndarray
    """float32[p], of one identity."""
    negative: np.ndarray
    """float32[q], of two."""


@torch.no_grad()
def pair_similarities(
    embeddings_BD: Tensor, labels_B: Tensor, random: np.random.Generator, pairs: int = PAIRS_AT_MOST
) -> PairSimilarities:
    """Cosines of all pairs of the batch, each once; of a large batch, those of some of its identities.

    Identities are drawn whole, so that positive pairs keep their share; the last one is cut.

    Args:
        embeddings_BD: float[B, D], of any length.
        labels_B: int[B], in any order.
        pairs: at most this many.
    """
    most = (1 + math.isqrt(1 + 8 * pairs)) // 2  # m (m - 1) / 2 <= pairs
    if len(labels_B) > most:
        identity_B = labels_B.unique(return_inverse=True)[1].cpu()
        turn = torch.from_numpy(random.permutation(int(identity_B.max()) + 1))
        drawn = turn[identity_B].argsort(stable=True)[:most].to(labels_B.device)
        embeddings_BD, labels_B = embeddings_BD[drawn], labels_B[drawn]
    unit_BD = normalized(embeddings_BD).float()
    one, other = torch.triu_indices(len(labels_B), len(labels_B), offset=1, device=labels_B.device)
    similarity = (unit_BD @ unit_BD.T)[one, other]
    same = labels_B[one] == labels_B[other]
    return PairSimilarities(similarity[same].cpu().numpy(), similarity[~same].cpu().numpy())


class HardestTriplets(NamedTuple):
    """The triplets that violate most, hardest first."""

    rows: Triplets
    """Rows of the batch, each int64[T]."""
    d_ap: np.ndarray
    """float32[T], squared distance of unit vectors from anchor to positive, 0 to 4."""
    d_an: np.ndarray
    """float32[T], to the negative."""


@torch.no_grad()
def hardest_triplets(embeddings_BD: Tensor, labels_B: Tensor, count: int) -> HardestTriplets:
    """The `count` largest d_ap - d_an, each with another anchor identity: a batch's worst is seldom one alone.

    Fewer where the batch has fewer identities with two images, none where it has one identity.
    Cost: one B × B × D matrix product, in blocks.
    """
    unit_BD = normalized(embeddings_BD).float()
    rows = mine_offline(unit_BD, labels_B)  # an anchor's hardest: its farthest positive, its nearest negative
    d_ap = 2 - 2 * (unit_BD[rows.anchor] * unit_BD[rows.positive]).sum(dim=1)
    d_an = 2 - 2 * (unit_BD[rows.anchor] * unit_BD[rows.negative]).sum(dim=1)
    hardest = (d_ap - d_an).argsort(descending=True, stable=True).cpu()
    label = labels_B[rows.anchor].cpu()[hardest].numpy()
    first = np.sort(np.unique(label, return_index=True)[1])[:count]
    chosen = hardest[torch.from_numpy(first)]
    return HardestTriplets(
        Triplets(*(column.cpu()[chosen] for column in rows)),
        d_ap.cpu()[chosen].numpy(),
        d_an.cpu()[chosen].numpy(),
    )


def triplet_picture(
    images_n: np.ndarray,
    image_id_n: np.ndarray,
    triplets: HardestTriplets,
    names: Mapping[int, str] | None = None,
) -> np.ndarray:
    """A row of tiles a triplet, anchor | positive | negative, with names, ids and distances below: uint8[H, W, 3].

    Args:
        images_n: uint8[n, 3, h, w].
        image_id_n: int64[n].
        triplets: rows below n.
        names: of the identities, by the rows of `triplets`.
    """
    scale = max(1, round(TILE / images_n.shape[-1]))
    tall, wide = (side * scale for side in images_n.shape[-2:])
    lines = 2 if names is None else 3
    height, width = tall + lines * LINE + GAP, wide + GAP
    picture = Image.new("RGB", (3 * width + GAP, len(triplets.d_ap) * height + GAP), "white")
    draw = ImageDraw.Draw(picture)
    for line, (d_ap, d_an) in enumerate(zip(triplets.d_ap, triplets.d_an, strict=True)):
        captions = ("anchor", f"d_ap {d_ap:.3f}", f"d_an {d_an:.3f}")
        for column, (row, caption) in enumerate(
            zip((int(rows[line]) for rows in triplets.rows), captions, strict=True)
        ):
            pixels = images_n[row].transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)
            left, top = GAP + column * width, GAP + line * height
            picture.paste(Image.fromarray(pixels), (left, top))
            text = f"image {image_id_n[row]}\n{caption}"
            if names is not None:
                text = f"{drawable(names[row], wide // LETTER)}\n{text}"
            draw.multiline_text((left, top + tall), text, fill="black", spacing=1)
    return np.asarray(picture)


def drawable(name: str, letters: int) -> str:
    r"""A name as the built-in font can draw it, in one line: what is not printable ASCII is spelt out, what is long is cut.

    >>> drawable("Zo\u00eb", 16), drawable("a\nb", 16), drawable("a very long name", 8)
    ('Zo\\xeb', 'a\\nb', 'a ver...')
    """
    plain = name.encode("unicode_escape").decode()
    return plain if len(plain) <= letters else plain[: max(1, letters - 3)] + "..."

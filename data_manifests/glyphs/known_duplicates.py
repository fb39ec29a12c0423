"""Characters that are one picture in every face that has both: label noise that is known, to judge cleaning by.

Shapes: E entries, pairs of code points (a < b).
"""

from __future__ import annotations

import numpy as np

LEAST_FACES = 2
"""Fewer shared faces may agree by chance."""


def known_duplicates(
    code: np.ndarray, face: np.ndarray, picture: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of code points, int32[n, 2], and the number of faces that they share, int64[n]; by pair.

    The arguments are int32[E] columns of one table: `face` draws `code` as `picture`, where equal numbers of one
    face mean equal pixels. They must be without placeholders: a picture of many characters makes many pairs.
    """
    order = np.lexsort((code, picture, face))
    code, face, picture = code[order], face[order], picture[order]
    pairs = []
    for step in range(1, len(code)):  # the entries of one picture are neighbours now; few of them share it
        same = (face[step:] == face[:-step]) & (picture[step:] == picture[:-step])
        if not same.any():
            break
        pairs.append(np.stack([code[:-step][same], code[step:][same]], axis=1))
    if not pairs:
        return np.empty((0, 2), np.int32), np.empty(0, np.int64)
    pairs_N2, agree = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    pairs_N2, agree = pairs_N2[agree >= LEAST_FACES], agree[agree >= LEAST_FACES]

    involved = np.unique(pairs_N2)
    has = np.zeros((len(involved), face.max() + 1), bool)
    of_involved = np.isin(code, involved)
    has[np.searchsorted(involved, code[of_involved]), face[of_involved]] = True
    a, b = np.searchsorted(involved, pairs_N2.T)
    always = agree == (has[a] & has[b]).sum(1)
    return pairs_N2[always], agree[always]

"""Near repeats, type families, splits and known duplicates, against their definitions in slow loops."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import combinations

import glyph_splits as splits
import numpy as np
import pytest
from glyph_splits import glyph_splits, is_clean
from known_duplicates import known_duplicates
from near_repeats import first_of_alike
from type_families import type_family

from subspace.pipeline.sources.splits import SPLITS


def test_near_repeats_of_kept_pictures_are_dropped() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 16, (6, 40), dtype=np.uint8)
    pictures = np.concatenate(
        [levels, np.clip(levels + rng.integers(-2, 3, levels.shape), 0, 15), levels[:2]]
    )
    pictures = pictures[rng.permutation(len(pictures))].astype(np.uint8)
    kept: list[int] = []
    for i, picture in enumerate(pictures.astype(int)):
        cosines = (
            Fraction(
                int(picture @ pictures[j]) ** 2,
                int(picture @ picture) * int(pictures[j].astype(int) @ pictures[j]),
            )
            for j in kept
        )
        if all(square < Fraction(98, 100) ** 2 for square in cosines):
            kept.append(i)
    assert 1 < len(kept) < len(pictures)
    assert first_of_alike(pictures).tolist() == kept


def test_a_chain_of_near_repeats_is_cut_at_the_kept_one() -> None:
    angle = np.arccos(0.98) * 0.75 * np.arange(3)  # 0 is near 1 and 1 near 2, but 0 is not near 2
    levels = np.rint(np.stack([np.cos(angle), np.sin(angle)], axis=1) * 15).astype(np.uint8)
    assert first_of_alike(levels).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "design"),
    [
        ("Noto Sans CJK JP", "Noto Sans CJK"),
        ("Noto Sans Mono CJK HK", "Noto Sans CJK"),
        ("Noto Serif CJK KR ExtraLight", "Noto Serif CJK"),
        ("Noto Serif Devanagari SemiCondensed Black", "Noto Serif"),
        ("Noto Sans Display", "Noto Sans"),
        ("AR PL UMing TW MBE", "AR PL UMing"),
        ("TW-Sung-Ext-B", "TW-Sung"),
        ("HanaMinB", "HanaMin"),
        ("NanumGothicCoding", "NanumGothic"),
        ("NanumBarunpen", "NanumBarunpen"),
        ("LXGW WenKai Mono Light", "LXGW WenKai"),
        ("WenQuanYi Zen Hei Sharp", "WenQuanYi Zen Hei"),
        ("Baekmuk Headline", "Baekmuk Headline"),
        ("Mono", "Mono"),
        ("IPAmjMincho", "IPA Mincho"),
        ("TakaoPGothic", "M+ and IPA Gothic"),
        ("M PLUS 1 Code Thin", "M+ and IPA Gothic"),
        ("Ume P Mincho S3", "Ume Mincho"),
        ("UmePlus P Gothic", "Ume Gothic"),
        ("AR PL SungtiL GB", "AR PL UMing"),
        ("Symbola", "Douros"),
    ],
)
def test_weights_widths_and_regions_are_one_family(name: str, design: str) -> None:
    assert type_family(name) == design


@pytest.mark.parametrize("letter", "己떳aÉЩבa")
def test_letters_are_clean(letter: str) -> None:
    assert is_clean(ord(letter))


@pytest.mark.parametrize("letter", ["\uf900", "\uff21", "-", "·", "5", "\ue000", "ﬁ", "\u0301"])
def test_compatibility_forms_marks_and_private_characters_are_not_clean(letter: str) -> None:
    assert not is_clean(ord(letter))


@pytest.fixture
def small_splits(monkeypatch) -> None:
    for name, size in (("TEST", 50), ("VAL", 20), ("PRETRAIN", 30)):
        monkeypatch.setattr(splits, name, size)


def _identities(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    code = np.concatenate([np.arange(0x2500, 0x2580), np.arange(0x4E00, 0x5000)])
    images = rng.integers(1, 9, len(code))
    return code, images, rng.integers(1, images + 1)


@pytest.mark.usefixtures("small_splits")
def test_held_out_identities_are_clean_and_have_images_of_two_families() -> None:
    code, images, families = _identities()
    split = np.array(SPLITS)[glyph_splits(code, images, families, 4)]
    assert {name: int((split == name).sum()) for name in SPLITS[1:]} == {
        "pretrain": 30,
        "val": 20,
        "test": 50,
    }
    for i in np.flatnonzero(np.isin(split, ["val", "test"])):
        assert is_clean(int(code[i]))
        assert images[i] >= 4
        assert families[i] >= 2
    assert (images[split == "pretrain"] >= 4).all()


@pytest.mark.usefixtures("small_splits")
def test_the_draw_depends_on_the_characters_and_not_on_their_order_or_company() -> None:
    code, images, families = _identities()
    split = dict(zip(code.tolist(), glyph_splits(code, images, families, 4).tolist(), strict=True))
    order = np.random.default_rng(1).permutation(len(code))
    again = glyph_splits(code[order], images[order], families[order], 4)
    assert dict(zip(code[order].tolist(), again.tolist(), strict=True)) == split
    fewer = np.delete(np.arange(len(code)), 300)
    moved = [split[c] for c in code[fewer]] != glyph_splits(code[fewer], images[fewer], families[fewer], 4)
    assert moved.sum() <= 3  # one for each split that lost a member


@pytest.mark.usefixtures("small_splits")
def test_too_few_identities_are_all_held_out_for_test_first() -> None:
    code = np.arange(0x4E00, 0x4E00 + 60)
    split = glyph_splits(code, np.full(60, 5), np.full(60, 2), 4)
    assert np.bincount(split, minlength=4)[[SPLITS.index("test"), SPLITS.index("val")]].tolist() == [50, 10]


def test_duplicates_are_one_picture_in_all_of_two_or_more_shared_faces() -> None:
    rng = np.random.default_rng(3)
    rows = [(c, f, rng.integers(0, 4)) for f in range(5) for c in range(30) if rng.random() < 0.6]
    rows += [(c, f, 100 + c // 2) for f in range(5) for c in range(100, 110) if rng.random() < 0.8]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    picture: dict[int, dict[int, int]] = defaultdict(dict)
    for c, f, p in rows:
        picture[c][f] = p
    wanted = {}
    for a, b in combinations(sorted(picture), 2):
        shared = picture[a].keys() & picture[b].keys()
        if len(shared) >= 2 and all(picture[a][f] == picture[b][f] for f in shared):
            wanted[a, b] = len(shared)
    pairs, faces = known_duplicates(*np.array(rows, np.int32).T)
    assert len(wanted) > 5
    assert dict(zip(map(tuple, pairs.tolist()), faces.tolist(), strict=True)) == wanted


def test_no_duplicates_are_an_empty_table() -> None:
    pairs, faces = known_duplicates(*np.array([(1, 0, 0), (2, 0, 1)], np.int32).T)
    assert (pairs.shape, faces.shape) == ((0, 2), (0,))

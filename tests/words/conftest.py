"""The recipe's files import one another, and those of the glyph set, as a script's do; lists are small and made here."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import matplotlib
import pytest

RECIPE = Path(__file__).resolve().parent.parent.parent / "data_manifests" / "words"
sys.path[:0] = [str(RECIPE), str(RECIPE.parent / "glyphs")]

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
NAMES = (
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneral.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
)
"""Five families; the last three have no letter beyond a to z."""


@pytest.fixture(scope="session")
def word_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fonts/, and lists/ of three languages that nobody speaks."""
    folder = tmp_path_factory.mktemp("word sources")
    (folder / "fonts").mkdir()
    for name in NAMES:
        shutil.copy(FONTS / name, folder / "fonts")
    shutil.copy(FONTS / NAMES[0], folder / "fonts" / "the same again.ttf")
    draw = random.Random(0)
    latin, cyrillic = (
        [a + b for a in c for b in v] for c, v in (("bdfgklmnprst", "aeiou"), ("бвгдж", "аеи"))
    )
    endings = ("", "s", "n", "er", "ung", "é", "ß")
    first = {draw.choice(latin) + draw.choice(latin) + draw.choice(endings) for _ in range(60_000)}
    second = set(sorted(first)[::7]) | {"größe", "Ångström", "hånd"}
    third = {"".join(draw.choice(cyrillic) for _ in range(3)) for _ in range(400)}
    lists = folder / "lists"
    lists.mkdir()
    (lists / "first.txt").write_text("\n".join(sorted(first)) + "\nab\nO'Neil\nGross\ngross\n")
    (lists / "second").write_bytes("\n".join(sorted(second)).encode("latin-1"))
    (lists / "third").write_text("\r\n".join(sorted(third)))
    return folder

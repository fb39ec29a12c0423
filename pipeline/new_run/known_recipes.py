"""Recipes: known methods as settings that differ from the defaults, one YAML file each in `recipes/`."""

from __future__ import annotations

import difflib
import textwrap
from pathlib import Path
from typing import Any

import yaml

from ...mining.errors import InputError
from ...mining.settings import Settings
from ..console import aligned

FOLDER = Path(__file__).resolve().parent.parent / "recipes"
COLUMNS = {
    "rank1_10k": "Rank-1",
    "rank1_100k": "among 110,000",
    "tar_1e-4": "TAR@FAR=1e-4",
    "tar_1e-5": "1e-5",
    "tar_1e-6": "1e-6",
}
"""Figures of the comparison, and what they are called."""


class Measured(Settings):
    """A row of the comparison: `small`, 78,254 identities, 6,114 batches of 256 images, 10,000 unseen identities."""

    arm: str
    """Its name in BENCHMARKS.md and `benchmarks/quality`."""
    lr: float
    seeds: int
    percent: dict[str, float]
    differs: str | None = None
    """What the arm does otherwise; None: it is this recipe."""


class Recipe(Settings):
    """One method."""

    name: str
    about: str
    source: str
    measured: Measured | None
    """None: no arm is near it."""
    settings: dict[str, Any]
    """As `subspace.yaml` has them; everything else is the default."""

    def lines(self) -> list[str]:
        """What it is, where it is from and what is known of it, a line each."""
        measured = "no"
        if self.measured:
            arm, figures = self.measured.arm, self.measured.percent
            measured = (
                f"Rank-1 {figures['rank1_10k']} %, TAR@FAR=1e-6 {figures['tar_1e-6']} % with the small network among 78,254 "
                f"identities, arm '{arm}'"
            )
            if self.measured.differs:
                measured = f"no; nearest is arm '{arm}', but {self.measured.differs}"
        return [f"recipe {self.name}: {self.about}", f"source: {self.source}", f"measured: {measured}"]


def recipe_names() -> list[str]:
    """The names of all recipes, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != "default", name))


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        InputError: there is none; the message lists those that there are.
    """
    known = recipe_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"unknown recipe '{name}', there are {', '.join(known)}{meant}")
    return Recipe(name=name, **yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def recipes_in_words() -> str:
    """All recipes with their sources, then their rows of the comparison as one table."""
    recipes = [load_recipe(name) for name in recipe_names()]
    parts = [
        "\n".join(
            textwrap.fill(
                line, 110, initial_indent="  " * (n > 0), subsequent_indent="    ", break_on_hyphens=False
            )
            for n, line in enumerate(recipe.lines())
        )
        for recipe in recipes
    ]
    rows = [["recipe", "lr", "seeds", *COLUMNS.values()]]
    for recipe in recipes:
        if row := recipe.measured:
            name = recipe.name + " (nearest arm)" * (row.differs is not None)
            rows.append(
                [name, f"{row.lr:g}", str(row.seeds), *(f"{row.percent[key]:.1f}" for key in COLUMNS)]
            )
        else:
            rows.append([recipe.name, *["-"] * (len(rows[0]) - 1)])
    return "\n\n".join(
        [
            *parts,
            "Percent, 10,000 unseen identities, after 6,114 batches of 256 images of 78,254 identities (BENCHMARKS.md):\n"
            "compare rows of one lr with each other.\n\n" + aligned(rows),
        ]
    )

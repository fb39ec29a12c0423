"""Families of networks: by the spec, never by the name that a user chose."""

from __future__ import annotations

import pytest

from subspace.pipeline.learning_rate.families import SEARCHED_RATES, family_of


@pytest.mark.parametrize(("spec", "family"), [
    ("small", "small"), ("iresnet18", "iresnet"), ("iresnet100", "iresnet"), ("python:my:small", None),
])  # fmt: skip
def test_families(spec: str, family: str | None) -> None:
    assert family_of(spec) == family


def test_every_searched_rate_is_of_a_family() -> None:
    assert {family_of(name) for name in SEARCHED_RATES} == set(SEARCHED_RATES)

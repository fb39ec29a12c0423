"""Where a test runs: on the CPU always, and marked `cuda` on a GPU where torch sees one (`pytest -m cuda`)."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """The device under test."""
    return str(request.param)

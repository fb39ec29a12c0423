"""Versions, and packages that cannot be imported."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from subspace.pipeline.doctor import versions


def test_the_versions_are_those_that_are_imported() -> None:
    found = {finding.name: finding for finding in versions.packages()}
    assert set(found) == {"torch", "FAISS", "NumPy", "Arrow", "Pillow"}
    assert found["NumPy"].facts["version"] == np.__version__
    assert found["torch"].value.startswith(torch.__version__)
    assert not any(finding.broken or finding.advice for finding in found.values())
    assert "Python 3." in versions.system().value
    assert versions.build_of([]) == " (from another source)"


def test_a_package_that_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    missing = versions.package("faiss", "FAISS")
    assert missing.broken
    assert missing.advice == "pip install 'subspace-mining[cpu]' or 'subspace-mining[gpu]'"
    assert versions.package("no_such_module_anywhere", "X").value.startswith("cannot be imported: No module")

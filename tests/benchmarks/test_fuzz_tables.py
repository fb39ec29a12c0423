"""The fuzzer of table readers in short: it finds what it should, and the readers stand it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from subspace.mining.schemas import KINDS, SUBSPACES, TableKind

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "reliability"))
import fuzz_tables


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_tables_are_refused_in_a_line(kind: TableKind, tmp_path: Path) -> None:
    found = fuzz_tables.fuzz(kind, 60, 1, tmp_path)
    assert found["refused"] > 20
    assert found["read"] > 0


def test_another_error_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(kind: TableKind, path: Path) -> None:
        if len(path.read_bytes()) != (tmp_path / "size").stat().st_size:
            raise KeyError(kind.name)

    monkeypatch.setattr(fuzz_tables, "read", broken)
    (tmp_path / "size").write_bytes(b"")
    with pytest.raises(KeyError):
        fuzz_tables.fuzz(SUBSPACES, 10, 0, tmp_path)

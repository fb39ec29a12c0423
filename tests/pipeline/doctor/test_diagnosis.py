"""The whole of `subspace doctor` (pipeline/commands/machine.py): it goes on whatever fails, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import subspace
from typer.testing import CliRunner

from subspace.mining.errors import InputError
from subspace.pipeline.cli import app
from subspace.pipeline.doctor import diagnosis, versions
from subspace.pipeline.doctor.diagnosis import diagnose, guarded, refusal
from subspace.pipeline.doctor.finding import Finding


def test_the_command_says_what_is_here() -> None:
    done = subspace("doctor", "--quick")
    assert done.returncode == 0, done.stderr
    names = [line[:14].strip() for line in done.stdout.splitlines()]
    for name in ("subspace", "torch", "FAISS", "driver", "cores", "shared memory", "decoder"):
        assert name in names
    done = subspace("doctor", "--quick", "--json")
    assert {"torch", "cores"} <= {finding["name"] for finding in json.loads(done.stdout)}


def test_a_check_that_fails_is_a_finding() -> None:
    def check() -> Iterator[Finding]:
        yield Finding("first", "good")
        raise RuntimeError("of\nsome kind")

    found = list(guarded("GPUs", check))
    assert [(finding.name, finding.value, finding.broken) for finding in found] == [
        ("first", "good", False), ("GPUs", "failed: RuntimeError: of some kind", True),
    ]  # fmt: skip
    assert refusal(found) == "cannot work like this: GPUs (failed: RuntimeError: of some kind)"
    assert refusal(found[:1]) is None


def test_what_cannot_be_imported_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PACKAGES", {"no_such_module_anywhere": "torch"})
    found = list(diagnose())
    assert found[-1].broken
    assert not any(finding.name == "cores" for finding in found)
    done = CliRunner().invoke(app, ["doctor"])
    assert isinstance(done.exception, InputError)
    assert "cannot work like this: torch" in str(done.exception)


def test_speeds_come_last_unless_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis.speeds, "speeds_of", lambda devices, faiss_sees: iter([Finding("product", str(devices[0]))]))  # fmt: skip
    monkeypatch.setattr(diagnosis.machine, "all_of_it", lambda: iter(()))
    assert list(diagnose())[-1] == Finding("product", "cpu")
    assert "product" not in [finding.name for finding in diagnose(quick=True)]

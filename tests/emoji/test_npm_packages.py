"""Fetching, against a program that stands in for npm: nothing is downloaded here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from npm_packages import Package, fetch, integrity_of

from subspace.mining.errors import InputError

NPM = """
import os, sys
wanted, flag = sys.argv[-1], "--pack-destination"
folder = sys.argv[sys.argv.index(flag) + 1] if flag in sys.argv else "."
with open(os.environ["CALLS"], "a") as calls:
    print(wanted, file=calls)
if wanted.startswith("gone"):
    sys.exit("npm error code E404")
name, _, version = wanted.removeprefix("@").rpartition("@")
open(f"{folder}/{name.replace('/', '-')}-{version}.tgz", "w").write("abc")
"""
OF_ABC = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
"""SHA-512 of "abc" as FIPS 180 gives it."""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in is on the PATH; what it was asked for is in this file."""
    program = tmp_path / "programs" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}{NPM}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_a_package_is_fetched_once(calls: Path, tmp_path: Path) -> None:
    package = Package("@scope/faces", "1.2.0", OF_ABC)
    path = fetch(package, tmp_path / "packages")
    assert path == tmp_path / "packages" / "scope-faces-1.2.0.tgz"
    assert fetch(package, tmp_path / "packages") == path
    assert calls.read_text() == "@scope/faces@1.2.0\n"


def test_the_folder_may_be_a_relative_one(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make emoji` fetches into data/emoji, and npm looked for that below the folder itself."""
    monkeypatch.chdir(tmp_path)
    assert fetch(Package("faces", "1.2.0", OF_ABC), Path("data/packages")).read_text() == "abc"


def test_another_archive_than_the_pinned_one_is_refused(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"faces-1\.2\.0\.tgz has sha512-.* not sha512-other.* delete it"):
        fetch(Package("faces", "1.2.0", "sha512-other"), tmp_path)


def test_a_package_that_is_gone_stops_with_the_reason(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="npm pack gone@1 failed: npm error code E404"):
        fetch(Package("gone", "1", OF_ABC), tmp_path)


def test_without_npm_the_archive_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"npm is not on this machine.*faces-1\.tgz"):
        fetch(Package("faces", "1", OF_ABC), tmp_path)


def test_integrity_is_npms(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    assert integrity_of(tmp_path / "abc") == OF_ABC

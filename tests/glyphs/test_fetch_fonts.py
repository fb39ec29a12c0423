"""Fetching, against programs that stand in for apt-get and dpkg: nothing is downloaded here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import fetch_fonts
import pytest
from fetch_fonts import fetch, list_fonts

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console

APT_GET = """
import os, sys
name = sys.argv[-1]
with open(os.environ["CALLS"], "a") as calls:
    print(*(word for word in sys.argv[1:] if not word.startswith("-")), file=calls)
if "update" in sys.argv:
    sys.exit(0)
if name == "fonts-gone" or (name == "fonts-new" and not any(word.startswith("-oDir::State::lists=/") for word in sys.argv)):
    print(f"E: Unable to locate package {name}", file=sys.stderr)
    sys.exit(100)
if name == "fonts-offline":
    print("W: a warning", "E: Failed to fetch it", sep="\\n", file=sys.stderr)
    sys.exit(100)
open(f"{name}_1%3a2.0-1_all.deb", "w").write(name)
"""
DPKG = """
import pathlib, sys
place = pathlib.Path(sys.argv[3], "usr/share/fonts")
place.mkdir(parents=True)
(place / "b.TTF").touch(); (place / "a.otf").touch(); (place / "readme.txt").touch()
(place / "link.ttf").symlink_to("b.TTF")
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-ins are on the PATH; what apt-get was asked for is in this file."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("apt-get", APT_GET), ("dpkg", DPKG)):
        (programs / name).write_text(f"#!{sys.executable}{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_packages_are_fetched_once_and_listed_in_order(calls: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    files = fetch(["fonts-b", "fonts-a"], folder, Console(quiet=True))
    assert [(file.package, file.version, file.path.name) for file in files] == [
        (package, "1:2.0-1", name) for package in ("fonts-a", "fonts-b") for name in ("a.otf", "b.TTF")
    ]
    assert calls.read_text() == "download fonts-b\ndownload fonts-a\n"
    assert fetch(["fonts-b", "fonts-a"], folder, Console(quiet=True)) == files
    assert calls.read_text().count("download") == 2
    assert sorted(path.name for path in folder.iterdir()) == ["fonts-a_1%3a2.0-1", "fonts-b_1%3a2.0-1"]


def test_a_package_that_is_gone_is_named_and_left_out(calls: Path, tmp_path: Path, capsys) -> None:
    files = fetch(["fonts-gone", "fonts-a"], tmp_path / "packages", Console())
    assert {file.package for file in files} == {"fonts-a"}
    assert "fonts-gone is left out" in capsys.readouterr().out
    assert "update" in calls.read_text()


def test_lists_of_our_own_are_fetched_where_the_machine_has_none(
    calls: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative folder must mean the same to the programs, which run elsewhere
    files = fetch(["fonts-new"], Path("packages"), Console(quiet=True))
    assert {file.package for file in files} == {"fonts-new"}
    assert calls.read_text() == "download fonts-new\nupdate\ndownload fonts-new\n"


@pytest.mark.usefixtures("calls")
def test_a_network_that_fails_stops_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"download fonts-offline failed: E: Failed to fetch it; the same command"
    ):
        fetch(["fonts-a", "fonts-offline"], tmp_path / "packages", Console(quiet=True))
    assert [path.name for path in (tmp_path / "packages").glob("fonts-*")] == ["fonts-a_1%3a2.0-1"]


def test_without_apt_get_a_folder_of_fonts_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fetch_fonts.shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"apt-get is not on this machine.*--fonts"):
        fetch(["fonts-a"], tmp_path, Console(quiet=True))


def test_a_folder_of_fonts_is_listed_by_path(tmp_path: Path) -> None:
    for name in ("b/x.ttf", "a/y.ttc", "a/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [(file.package, file.path.name) for file in list_fonts(tmp_path)] == [
        ("a", "y.ttc"),
        ("b", "x.ttf"),
    ]

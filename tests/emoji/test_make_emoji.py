"""The whole recipe on packages of a few pictures."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import make_emoji
import pytest
import yaml
from npm_packages import integrity_of
from small_packages import build_package, png

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console

pytest.importorskip("resvg_py")

TABLE = """hexcode,annotation,group
1F600,grinning face,smileys-emotion
1F44B,waving hand,people-body
1F44B-1F3FB,waving hand: light skin tone,people-body
1F999,llama,animals-nature
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """The set out of three packages, built with the options; its rows."""

    def package(name: str, files: dict[str, bytes], **told: str) -> dict[str, str]:
        archive = build_package(tmp_path / "packages" / f"{name}-1.tgz", files)
        return {"package": name, "version": "1", "integrity": integrity_of(archive), "licence": "OFL", **told}

    ours = {f"{code}.png": png("#ff0000") for code in ("1f600", "1f44b", "1f44b-1f3fb", "1f999")}
    theirs = {
        f"{name}.png": png("#00ff00")
        for name in ("grinning-face", "waving-hand-light", "waving-hand-default")
    }
    by_code, by_name = r"package/(?P<code>.+)\.png", r"package/(?P<name>.+)\.png"
    styles = {
        "names": package("names", {"t.csv": TABLE.encode()}, table="package/t.csv"),
        "free": {
            "one": package("ours", ours, vendor="us", pictures=by_code),
            "bold": package("bold", ours, vendor="us", pictures=by_code),
            "two": package("theirs", {**theirs, "unicorn-tail.png": b""}, vendor="them", pictures=by_name),
        },
        "restricted": {"three": package("third", ours, vendor="third", pictures=by_code)},
    }
    (tmp_path / "styles.yaml").write_text(yaml.safe_dump(styles, sort_keys=False))
    monkeypatch.setattr(make_emoji, "STYLES", tmp_path / "styles.yaml")

    def run(**options: bool) -> list[dict[str, str]]:
        out = tmp_path / "emoji"
        given = {"out": out, "packages": None, "processes": 1, "restricted": False, **options}
        make_emoji.run(argparse.Namespace(**given), Console())
        return list(csv.DictReader((out / "images.csv").open(encoding="utf-8")))

    return run


def test_emoji_of_two_vendors_are_kept(build: Callable, tmp_path: Path, capsys) -> None:
    rows = build()
    assert {row["label"] for row in rows} == {"grinning face", "waving hand", "waving hand: light skin tone"}
    assert {(row["style"], row["group"]) for row in rows} == {("one", "us"), ("bold", "us"), ("two", "them")}
    assert all((tmp_path / "emoji" / row["path"]).exists() for row in rows)
    told = capsys.readouterr().out
    assert "| two | them | 3 | 1 | OFL |" in told
    assert "| identities | 3 |" in told


def test_variants_of_a_drawing_are_on_one_side(build: Callable) -> None:
    hands = {row["split"] for row in build() if "hand" in row["label"]}
    assert len(hands) == 1
    drawings = [f"{i:04x}" for i in range(1000)]
    splits = list(make_emoji.splits_of(drawings).values())
    assert [splits.count(name) for name in ("test", "val", "train")] == [200, 50, 750]
    assert make_emoji.splits_of(reversed(drawings)) == make_emoji.splits_of(drawings)


def test_restricted_styles_are_asked_for(build: Callable) -> None:
    rows = build(restricted=True)
    assert "llama" in {row["label"] for row in rows}
    assert "third" in {row["group"] for row in rows}


def test_the_same_pictures_are_written_again(build: Callable, tmp_path: Path) -> None:
    rows = build()
    before = (tmp_path / "emoji" / "provenance.json").read_text()
    assert build() == rows
    assert (tmp_path / "emoji" / "provenance.json").read_text() == before


def test_a_folder_with_files_of_others_is_left_as_it_is(
    build: Callable[..., list[dict[str, str]]], tmp_path: Path
) -> None:
    build()
    (tmp_path / "emoji" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds other files \(holiday\.jpg\)"):
        build(restricted=True)
    assert (tmp_path / "emoji" / "holiday.jpg").read_bytes() == b"mine"
    (tmp_path / "emoji" / "holiday.jpg").unlink()
    assert len(build(restricted=True)) > 0
    assert len(build()) > 0  # an earlier set with more vendors gives way

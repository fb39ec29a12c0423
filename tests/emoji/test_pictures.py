"""Pictures are found by name in an archive and drawn on white."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pictures import SIDE, draw, read_pictures
from PIL import Image
from small_packages import SVG, build_package, png

from subspace.mining.errors import InputError


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(draw(data))) as image:
        assert (image.size, image.mode) == ((SIDE, SIDE), "RGB")
        return np.asarray(image)


def test_files_are_found_by_pattern_in_order(tmp_path: Path) -> None:
    files = {"b/1f601.png": b"2", "b/1f600.png": b"1", "b/1f600.svg": b"3", "c/1f602.png": b"4"}
    archive = build_package(tmp_path / "p.tgz", files)
    found = list(read_pictures(archive, {"pictures": r"package/b/(?P<code>.+)\.png"}))
    assert found == [({"code": "1f600"}, b"1"), ({"code": "1f601"}, b"2")]


def test_exchanged_files_are_put_right(tmp_path: Path) -> None:
    archive = build_package(tmp_path / "p.tgz", {"1f590-1f3fc.png": b"c", "1f590-1f3fd.png": b"d"})
    style = {"pictures": r"package/(?P<code>.+)\.png", "exchanged": ["1f3fc", "1f3fd"]}
    assert {says["code"]: data for says, data in read_pictures(archive, style)} == {
        "1f590-1f3fd": b"c", "1f590-1f3fc": b"d",
    }  # fmt: skip


def test_icons_and_their_aliases_become_svg(tmp_path: Path) -> None:
    icons = {"width": 4, "height": 4, "icons": {"bear": {"body": '<path fill="#f00" d="M0 0h2v4H0z"/>'}}}
    icons["aliases"] = {"bear-face": {"parent": "bear"}, "turned": {"parent": "bear", "rotate": 1}}
    archive = build_package(tmp_path / "p.tgz", {"icons.json": json.dumps(icons).encode()})
    found = list(read_pictures(archive, {"icons": "package/icons.json"}))
    assert [says for says, _ in found] == [{"name": "bear"}, {"name": "bear-face"}]
    assert found[0][1] == SVG


def test_a_cut_archive_is_refused_by_name(tmp_path: Path) -> None:
    archive = build_package(tmp_path / "p.tgz", {"1f600.png": bytes(range(256)) * 99})
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(InputError, match=r"p\.tgz is damaged"):
        list(read_pictures(archive, {"pictures": "(?P<code>.+)"}))


def test_what_is_transparent_is_white() -> None:
    assert (pixels(png("#00000000")) == 255).all()
    assert abs(pixels(png("#ff000080")).astype(int) - (255, 127, 127)).max() <= 1


def test_a_wide_picture_keeps_its_shape() -> None:
    rows = (pixels(png("#0000ff", (80, 40)))[:, SIDE // 2] == (0, 0, 255)).all(1)
    assert np.flatnonzero(rows[[8, 20, 32, 44, 56]]).tolist() == [1, 2, 3]


def test_svg_is_drawn_as_a_viewer_draws_it() -> None:
    pytest.importorskip("resvg_py")
    drawn = pixels(SVG)
    assert (drawn[:, : SIDE // 2 - 3] == (255, 0, 0)).all()
    assert (drawn[:, SIDE // 2 + 3 :] == 255).all()

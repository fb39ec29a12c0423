"""Where a picture may be written, and that nothing else is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from subspace.mining.errors import InputError
from subspace.pipeline.pictures.picture_file import MADE_BY, check_picture_file


def test_only_pictures_that_were_drawn_here_are_written_over(tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    check_picture_file(out)
    Image.new("RGB", (2, 2)).save(out)  # such as one of the user's images
    with pytest.raises(InputError, match="was not drawn here"):
        check_picture_file(out)
    (tmp_path / "y.svg").write_text(f"<svg><!-- {MADE_BY} --></svg>")
    check_picture_file(tmp_path / "y.svg", [".png", ".svg"])
    (tmp_path / "empty.png").touch()
    check_picture_file(tmp_path / "empty.png")


@pytest.mark.parametrize(
    ("out", "why"), [("a.jpg", "ends in .png"), ("s3:/b/a.png", "is a URL"), ("f.png", "is a folder")]
)
def test_other_places_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.png").mkdir()
    with pytest.raises(InputError, match=why):
        check_picture_file(Path(out))

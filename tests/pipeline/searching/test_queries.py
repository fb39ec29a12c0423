"""Which images a folder of queries holds."""

from __future__ import annotations

from pathlib import Path

from subspace.pipeline.searching.queries import _images


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """A folder of 17 images beside its own was left out without a word."""
    for name in ("here/a.jpg", "here/below/b.jpg", "there/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"an image by its name")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "there")
    (tmp_path / "here" / "below" / "back").symlink_to(tmp_path / "here")
    found = [path.relative_to(tmp_path / "here") for path in _images(tmp_path / "here")]
    assert found == [Path("a.jpg"), Path("below/b.jpg"), Path("linked/c.jpg")]

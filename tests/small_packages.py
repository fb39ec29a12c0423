"""Packages of a few pictures, made here."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path fill="#f00" d="M0 0h2v4H0z"/></svg>'


def png(colour: str, size: tuple[int, int] = (72, 72)) -> bytes:
    """A picture of one colour; `#rrggbbaa` with the transparency that it says."""
    written = io.BytesIO()
    Image.new("RGBA", size, colour).save(written, "PNG")
    return written.getvalue()


def build_package(path: Path, files: Mapping[str, bytes]) -> Path:
    """A package's archive as the registry has it: everything below `package/`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path

"""Pictures out of a package's archive, each drawn at 64 x 64 on white: SVG by resvg, PNG and WebP by Pillow."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from subspace.mining.errors import InputError

SIDE = 64
ON = "white"  # black outlines and black drawings are to be seen


def read_pictures(archive: Path, style: dict[str, Any]) -> Iterator[tuple[dict[str, str], bytes]]:
    """What the file name says of each picture (`code` or `name`), and its bytes, in the order of the names.

    Raises:
        InputError: the archive is damaged.
    """
    try:
        with tarfile.open(archive) as tar:
            if "icons" in style:
                yield from _icons(json.load(_file(tar, style["icons"])))
                return
            members = {member.name: member for member in tar if member.isfile()}
            for name in sorted(members):
                found = re.fullmatch(style["pictures"], name)
                if found:
                    says = {kind: _mended(text, style) for kind, text in found.groupdict().items()}
                    yield says, _file(tar, members[name]).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{archive} is damaged: {error}; delete it and run this again") from error


def _mended(text: str, style: dict[str, Any]) -> str:
    one, other = style.get("exchanged", ("", ""))
    if not one:
        return text
    return re.sub(f"{one}|{other}", lambda found: other if found[0] == one else one, text)


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo | str) -> io.BufferedIOBase:
    file = tar.extractfile(member)
    if file is None:
        raise InputError(f"{tar.name} has no file {member}")
    return file  # type: ignore[return-value]


def _icons(icons: dict[str, Any]) -> Iterator[tuple[dict[str, str], bytes]]:
    """Iconify's icon set: the inside of each SVG, and aliases that name an icon otherwise without turning it."""
    drawn = {name: icon["body"] for name, icon in icons["icons"].items()}
    for alias, parent in icons.get("aliases", {}).items():
        if set(parent) == {"parent"} and parent["parent"] in drawn:
            drawn.setdefault(alias, drawn[parent["parent"]])
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {icons["width"]} {icons["height"]}">'
    for name in sorted(drawn):
        yield {"name": name}, f"{head}{drawn[name]}</svg>".encode()


def draw(data: bytes) -> bytes:
    """One picture as the set holds it: a PNG of 64 x 64 in RGB, without transparency."""
    if b"<svg" in data[:1000]:
        import resvg_py

        data = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), width=SIDE * 2, skip_system_fonts=True))
    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGBA")
    square = Image.new("RGBA", (max(picture.size),) * 2, ON)
    square.alpha_composite(picture, tuple((max(picture.size) - side) // 2 for side in picture.size))
    written = io.BytesIO()
    square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(written, "PNG")
    return written.getvalue()

"""InsightFace's .rec and .idx from their definition, and tars by tarfile: what the readers of shards are tried on."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

MAGIC = struct.pack("<I", 0xCED7230A)

Files = list[tuple[str, bytes]]


def marks(body: bytes) -> list[int]:
    """Where the body holds the magic at a multiple of 4."""
    return [place for place in range(0, len(body) - 3, 4) if body[place : place + 4] == MAGIC]


def record(body: bytes) -> bytes:
    """A record by dmlc-core's recordio.h: split where the body itself holds the magic at a multiple of 4."""
    at = marks(body)
    bounds = list(zip([0, *(place + 4 for place in at)], [*at, len(body)], strict=True))
    written = b""
    for number, (begin, end) in enumerate(bounds):
        part = 0 if len(bounds) == 1 else 1 if number == 0 else 3 if number == len(bounds) - 1 else 2
        chunk = body[begin:end]
        written += MAGIC + struct.pack("<I", part << 29 | len(chunk)) + chunk + bytes(-len(chunk) % 4)
    return written


def packed(labels: float | list[float], number: int, image: bytes = b"") -> bytes:
    """MXNet's recordio.pack: IfQQ, and labels behind it where there are several."""
    if isinstance(labels, list):
        header = struct.pack("<IfQQ", len(labels), 0, number, 0)
        return header + struct.pack(f"<{len(labels)}f", *labels) + image
    return struct.pack("<IfQQ", 0, labels, number, 0) + image


def write_rec(source: Path, bodies: list[bytes], index: bool = True) -> Path:
    written, lines = b"", []
    for number, body in enumerate(bodies):
        lines.append(f"{number}\t{len(written)}\n")
        written += record(body)
    source.write_bytes(written)
    if index:
        source.with_suffix(".idx").write_text("".join(lines))
    return source


def insightface(images: list[tuple[int, bytes]], several: bool = False) -> list[bytes]:
    """Bodies as face2rec2.py writes them: a header, images by identity, a record for each identity."""
    images = sorted(images, key=lambda image: image[0])
    people = sorted({label for label, _ in images})
    first = len(images) + 1
    bodies = [packed([float(first), float(first + len(people))], 0)]
    for number, (label, data) in enumerate(images, 1):
        bodies.append(packed([float(label), 0.0] if several else float(label), number, data))
    for number, label in enumerate(people, first):
        own = [place for place, image in enumerate(images, 1) if image[0] == label]
        bodies.append(packed([float(own[0]), float(own[-1] + 1)], number))
    return bodies


def write_tar(source: Path, files: Files, kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(source, "w", format=kind) as tar:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return source
